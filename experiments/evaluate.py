r"""Judges a trained run: on its own test part, or on a new experiment.

  python -m experiments.evaluate --workdir=runs/mine --method=FT
  python -m experiments.evaluate --workdir=runs/mine --method=FT \
    --data_path=new_trial.csv --arm_column=arm --revenue_column=revenue \
    --cost_column=cost

Revenue at ten budgets with bootstrap bands, beside the run's plain rivals, the
best mix of single arms, nobody and everybody; AUCC for two arms. Tables and a
picture go to --output.
"""

import math
from pathlib import Path

import jax
import numpy as np
from absl import flags

from bidfcl_jax import allocation, evaluation, report
from bidfcl_jax.data.stream import column_names
from bidfcl_jax.files import write_atomic
from bidfcl_jax.keys import stream
from bidfcl_jax.types import Samples
from experiments import data_flags, guard, judging, publish, runner, stored

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
METHOD = flags.DEFINE_string("method", None, "One of the run's methods.")
SEED = flags.DEFINE_integer("seed", None, "One of the run's seeds.")
OUTPUT = flags.DEFINE_string(
  "output", None, "Folder of tables and picture; default: inside the run."
)
BUDGETS = flags.DEFINE_list(
  "budgets", None, "Budgets per capita; default: ten over the range."
)
REPLICATES = flags.DEFINE_integer("replicates", 200, "Bootstrap draws.", 2)


def _samples(workdir, served, seed: int) -> tuple[Samples, str]:
  """Returns the rows to judge on, and what they are."""
  given, own = data_flags.DATA_PATH.value, served.record["flags"]
  data_flags.take_flags(own)
  if given is None or "data_path" in own:
    # The run's own file may have moved: what it holds tells, not its name.
    study, found = _remade(workdir, seed, strict=given is None)
    if found == served.record["study_hash"]:
      return study.rct_test, "its own test part"
    if given is None:
      raise ValueError(
        f"the data of seed {seed} are not those of the run (hash {found}, then "
        f"{served.record['study_hash']}): the file changed, or the version; "
        "give the old file, or a new experiment by --data_path"
      )
  columns = judging.Columns(
    data_flags.ARM_COLUMN.value,
    data_flags.REVENUE_COLUMN.value,
    data_flags.COST_COLUMN.value,
    _there(data_flags.SOURCE_COLUMN, given),
    _there(data_flags.GROUP_COLUMN, given),
  )
  return judging.read_trial(served, given, columns), given


def _there(flag: flags.FlagHolder, path: str) -> str | None:
  """Returns the column; None where the run had it and the new table has not."""
  asked = flags.FLAGS[flag.name].present
  return flag.value if asked or flag.value in column_names(path) else None


def _remade(workdir, seed: int, *, strict: bool):
  """Returns (study, its hash); (None, None) where a new file makes none."""
  try:
    study = data_flags.load_study(stored.settings_of(workdir), seed)
  except ValueError:
    if strict:
      raise
    return None, None
  return study, runner.study_hash(study)


def _budgets(outcomes, samples: Samples) -> np.ndarray:
  if BUDGETS.value is None:
    return judging.spread_budgets(outcomes, samples)
  try:
    return np.array([float(word) for word in BUDGETS.value])
  except ValueError:
    raise ValueError(f"--budgets={BUDGETS.value}: give numbers") from None


def _cell(value: float, low: float = math.nan, high: float = math.nan) -> str:
  if not math.isfinite(value):
    return "–"
  if not math.isfinite(low):
    return f"{value:.4g}"
  return f"{value:.4g} [{low:.4g}, {high:.4g}]"


def budget_table(caption, name, budgets, values, rivals, mixes) -> report.Table:
  """Returns one row a budget.

  Args:
    caption: what the numbers are.
    name: of the model.
    budgets: `[k]`.
    values: Interval of `[k, 2]` from `judging.at_budgets`.
    rivals: method -> EOM `[k]`.
    mixes: revenue `[k]` of the best mix of single arms.
  """
  header = ("budget", f"{name} [95 %]", "per unit of cost [95 %]")
  header += (*(report.display_name(r) for r in rivals), "best arm mix")
  cells, data = [], []
  for k, budget in enumerate(budgets):
    ends = [(values.estimate[k, i], values.low[k, i], values.high[k, i])
            for i in (0, 1)]  # fmt: skip
    others = [eoms[k] for eoms in rivals.values()] + [mixes[k]]
    cells.append(
      (_cell(budget), *(_cell(*e) for e in ends), *map(_cell, others))
    )
    data.append(
      {
        "budget": float(budget),
        **{
          f"{what}{end}": float(number)
          for what, numbers in zip(("eom", "gain_per_cost"), ends, strict=True)
          for end, number in zip(("", "_low", "_high"), numbers, strict=True)
        },
        **{
          r: float(v)
          for r, v in zip([*rivals, "BEST-ARM"], others, strict=True)
        },
      }
    )
  return report.Table(caption, header, tuple(cells), tuple(data))


def arm_table(caption, names, means) -> report.Table:
  """Returns one row an arm: nobody, then everybody by each arm."""
  revenue, cost = means.revenue[0], means.cost[0]
  cells, data = [], []
  for j, name in enumerate(names):
    who = f"nobody ({name})" if j == 0 else f"everybody: {name}"
    gain, more = revenue[j] - revenue[0], cost[j] - cost[0]
    ratio = gain / more if more else math.nan
    cells.append((who, *map(_cell, (cost[j], revenue[j], ratio))))
    data.append(
      {
        "policy": who,
        "cost": float(cost[j]),
        "revenue": float(revenue[j]),
        "gain_per_cost": float(ratio),
      }
    )
  header = ("policy", "cost", "revenue", "per unit of cost")
  return report.Table(caption, header, tuple(cells), tuple(data))


def _write(folder: Path, name: str, table: report.Table) -> None:
  write_atomic(folder / f"{name}.md", report.to_markdown(table))
  write_atomic(folder / f"{name}.csv", report.to_csv(table))


def main() -> None:
  """Runs the command."""
  if WORKDIR.value is None:
    raise ValueError("evaluate needs --workdir")
  method, seed = stored.choose(WORKDIR.value, METHOD.value, SEED.value)
  served = stored.open_fit(WORKDIR.value, method, seed)
  samples, where = _samples(WORKDIR.value, served, seed)
  present = stored.fits(WORKDIR.value)
  rivals = [
    name
    for name in report.SIMPLE_RIVALS
    if name != method and (name, seed) in present
  ]
  outcomes = {
    name: (
      served if name == method else stored.open_fit(WORKDIR.value, name, seed)
    ).outcomes(samples.features)
    for name in [method, *rivals]
  }
  budgets = _budgets(outcomes[method], samples)
  key = stream(jax.random.key(seed), "evaluate")
  values = judging.at_budgets(
    outcomes[method], samples, budgets, key, replicates=REPLICATES.value
  )
  arms = len(served.arm_names)
  means = evaluation.arm_means(samples, arms=arms)
  mixes = [
    float(evaluation.oracle_policy(means, budget).revenue) for budget in budgets
  ]
  eoms = {
    name: [evaluation.eom(outcomes[name], samples, None, b) for b in budgets]
    for name in rivals
  }
  caption = (
    f"{report.display_name(method)}, seed {seed}, on {where}: {len(samples):,} "
    "randomised rows; ipw with counted shares, exact budget, original units "
    f"per capita; 95 % bootstrap intervals by group, {REPLICATES.value} draws"
  )
  table = budget_table(
    caption, report.display_name(method), budgets, values, eoms, mixes
  )
  single = arm_table(
    "One arm for everybody, the same rows", served.arm_names, means
  )
  folder = Path(
    OUTPUT.value
    or runner.fit_folder(Path(WORKDIR.value), method, seed) / "evaluation"
  )
  _write(folder, "budgets", table)
  _write(folder, "arms", single)
  curves = {
    name: publish.rising(evaluation.cost_curve(predicted, samples, None))
    for name, predicted in outcomes.items()
  }
  report.evaluation_curves(
    curves,
    report.Band(
      budgets,
      *(getattr(values, end)[:, 0] for end in ("estimate", "low", "high")),
    ),
    allocation.path(means),
    {
      name: (float(means.cost[0, j]), float(means.revenue[0, j]))
      for j, name in enumerate(served.arm_names)
    },
    folder / "curve.png",
    method=method,
    title=f"{report.display_name(method)} on {len(samples):,} randomised rows",
  )
  print(report.to_text(table))
  print(report.to_text(single))
  if arms == 2:
    auccs = {
      name: evaluation.aucc(predicted, samples)
      for name, predicted in outcomes.items()
    }
    print("AUCC: " + ", ".join(f"{n} {v:.4f}" for n, v in auccs.items()))
  print(f"tables and picture: {folder}")


if __name__ == "__main__":
  guard.run(main)
