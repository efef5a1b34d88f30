r"""Times a batch of Bi-DFCL by every hypergradient against TSM-SL's.

    python -m experiments.bench.step --shape=paper --json=step_paper.json

Each row is a last stage run as training runs it: one bridge update and
`upper_every` target steps a block, divided by its batches ("explicit" updates
the bridge every batch). Columns: milliseconds a batch, seconds an
epoch (over OBS; TSM-SL's over the union), the ratio to TSM-SL on
the union (of the same recipe, within each round) by wall and by CPU time;
matrix products relative to TSM-SL's, and their speed as a share of a large
product's; the residual of the linear solve; the cosine of the hypergradient to
the ones at 300 iterations on the whole batch, by Gauss-Newton and by the full
Hessian (which need not have converged: their own rows say).
"""

import statistics
from typing import NamedTuple

from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax.bilevel import SOLVERS
from bidfcl_jax.config import Config
from experiments import guard
from experiments.bench import list_flags
from experiments.bench.measure import (
  REPEATS,
  matmul,
  matmul_flops,
  median_ratio,
  publish,
  rounds,
)
from experiments.bench.quality import CONVERGED, NOT_JUDGED, Judge
from experiments.bench.warmed import (
  BATCHES,
  SHAPE,
  Warmed,
  last_stage,
  shape_config,
  simulated,
  warm,
  with_bilevel,
)

_SOLVERS = flags.DEFINE_list("solvers", list(SOLVERS), "hypergradients")
_N_CG = flags.DEFINE_list("n_cg", ["5", "10", "20", "50"], "iterations")
_RECIPES = flags.DEFINE_list(
  "recipes", ["paper_letter", "fast"], "rows beside `recommended`"
)
_QUALITY = flags.DEFINE_bool("quality", True, "residuals and cosines too")
_PEAK = flags.DEFINE_integer("peak", 1024, "side of the large product", 1)
_ITERATED = ("cg", "cg_gauss_newton", "cg_normal", "neumann")


class Row(NamedTuple):
  """What a row of the table is made of; `base` names its TSM-SL row."""

  method: str
  config: Config
  warmed: Warmed
  base: str

  @property
  def bridged(self) -> bool:
    """Whether the bridge is updated."""
    return self.method == "Bi-DFCL-PPL"


def table_rows(shape: str) -> dict[str, Row]:
  """Returns name -> Row."""
  config = shape_config(shape, "recommended")
  study = simulated(config)
  warmed = warm("Bi-DFCL-PPL", config, study)

  def plain_row(config, name):
    return Row("TSM-SL-BOTH", config, warm("TSM-SL-BOTH", config, study), name)

  rows = {
    "TSM-SL": plain_row(config, "TSM-SL"),
    "FROZEN": Row("FROZEN", config, warmed, "TSM-SL"),
    "recommended": Row("Bi-DFCL-PPL", config, warmed, "TSM-SL"),
  }
  for recipe in _RECIPES.value:
    own = shape_config(shape, recipe)
    base = f"TSM-SL, {recipe}"
    rows[base] = plain_row(own, base)
    rows[recipe] = Row(
      "Bi-DFCL-PPL", own, warm("Bi-DFCL-PPL", own, study), base
    )
  counts = list_flags.whole_numbers(_N_CG)
  for solver in _SOLVERS.value:
    for n_cg in counts if solver in _ITERATED else ("",):
      changed = with_bilevel(
        config, solver=solver, n_cg=n_cg or config.bilevel.n_cg
      )
      name = f"{solver} {n_cg}".strip()
      rows[name] = Row("Bi-DFCL-PPL", changed, warmed, "TSM-SL")
  return rows


def references(rows: dict[str, Row]) -> dict[str, Row]:
  """Returns the converged rows, which are judged and not timed."""
  row = rows["recommended"]
  return {
    f"{solver} {CONVERGED}": row._replace(
      config=with_bilevel(row.config, solver=solver, n_cg=CONVERGED)
    )
    for solver in ("cg_gauss_newton", "cg")
  }


def check_flags() -> None:
  """Raises ValueError for flags that fit no row, before anything is trained."""
  list_flags.refuse_unknown(_SOLVERS, SOLVERS)
  list_flags.refuse_unknown(_RECIPES, config_lib.RECIPES)
  list_flags.whole_numbers(_N_CG)
  for recipe in ("recommended", *_RECIPES.value):
    every = shape_config(SHAPE.value, recipe).bilevel.upper_every
    if BATCHES.value % every:
      raise ValueError(
        f"--batches={BATCHES.value}: {recipe} trains in blocks of {every}"
      )


def main() -> None:
  """Runs the rounds and prints the table."""
  check_flags()
  rows = table_rows(SHAPE.value)
  batches = BATCHES.value
  epochs = {
    name: last_stage(row.method, row.config, row.warmed, batches)
    for name, row in rows.items()
  }
  product, product_flops = matmul(_PEAK.value)
  runs = {name: epoch.runner() for name, epoch in epochs.items()}
  seconds, first = rounds({**runs, "product": product}, REPEATS.value)
  # Counting traces; before the rounds it would spare their first calls that.
  flops = {
    name: matmul_flops(
      epoch.scan,
      epoch.progress,
      *epoch.args,
      trips=rows[name].config.bilevel.n_cg,
    )
    for name, epoch in epochs.items()
  }
  speed = product_flops / statistics.median(seconds["product"].wall)
  judge, lines = Judge(), []

  def judged(row, epoch):
    if _QUALITY.value and row.bridged:
      return judge.columns(row.base, row.config, epoch)
    return NOT_JUDGED

  for name, row in rows.items():
    own, base = seconds[name], seconds[row.base]
    middle = statistics.median(own.wall)
    lines.append(
      {
        "row": name,
        "ms/batch": 1e3 * middle / batches,
        "s/epoch": epochs[name].of_epoch * middle / batches,
        "x TSM-SL": median_ratio(own.wall, base.wall),
        "by CPU": median_ratio(own.cpu, base.cpu),
        "FLOPs x": flops[name] / flops[row.base],
        "of peak": flops[name] / middle / speed,
        "first s": first[name],
        **judged(row, epochs[name]),
      }
    )
  nothing = dict.fromkeys(lines[0], float("nan"))
  if _QUALITY.value:
    for name, row in references(rows).items():
      columns = judged(row, epochs["recommended"])
      lines.append(nothing | {"row": name} | columns)
  publish(
    f"A batch of the last stage, --shape={SHAPE.value}, "
    f"{REPEATS.value} rounds of {batches} batches, peak "
    f"{speed / 1e9:.3g} GFLOP/s.",
    lines,
  )


if __name__ == "__main__":
  guard.run(main)
