r"""Where an epoch of Bi-DFCL goes: one change at a time, against TSM-SL.

    python -m experiments.bench.profile --profile_recipe=fast

Every row is the last stage of the recipe with one thing changed, run as
training runs it, on one warmed state (one that has the changed structure where
the bridge's own size changes). Ratios to TSM-SL on the union are of equally
many batches, within each round; an epoch of TSM-SL has 110 batches at S1's
shapes where Bi-DFCL's has 100, so that per epoch the ratio is 1/1.1 of it.
"Saved" is the share of the full row's CPU time that the change takes away. A
call runs --batches, rounded up to whole blocks of every row.
"""

import dataclasses
import math
import statistics
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from bidfcl_jax.config import Config
from bidfcl_jax.methods import Stage
from experiments import guard
from experiments.bench import list_flags
from experiments.bench.measure import REPEATS, median_ratio, publish, rounds
from experiments.bench.warmed import (
  BATCHES,
  SHAPE,
  last_stage,
  shape_config,
  simulated,
  warm,
)

_RECIPE = flags.DEFINE_enum(
  "profile_recipe", "recommended", ["recommended", "fast"], "what is profiled"
)
_CHANGES_GIVEN = flags.DEFINE_list(
  "changes", [], "rows to run, in quotes where one holds a comma; none: all"
)
# One option each; those that change the bridge's size need their own state.
_CHANGES = {
  "no assumed steps": {"bilevel__assumed_steps": 0},
  "identity (no CG)": {"bilevel__solver": "identity"},
  "n_cg 1": {"bilevel__n_cg": 1},
  "n_cg 3": {"bilevel__n_cg": 3},
  "n_cg 5": {"bilevel__n_cg": 5},
  "n_cg 20": {"bilevel__n_cg": 20},
  "curvature_rows 256": {"bilevel__curvature_rows": 256},
  "upper rows 5,000": {"decision__rows": 5_000},
  "upper rows 2,000": {"decision__rows": 2_000},
  "upper rows 1,000": {"decision__rows": 1_000},
  "price_halvings 25": {"decision__price_halvings": 25},
  "price_halvings 8": {"decision__price_halvings": 8},
  "price_halvings 1": {"decision__price_halvings": 1},
  "no price clip (grid of 65 prices)": {"decision__price_clip": 0.0},
  "price_gradient dual (no mu)": {"decision__price_gradient": "dual"},
  "labels stop_gradient": {"bilevel__labels": "stop_gradient"},
  "upper_every 10": {"bilevel__upper_every": 10},
  "upper_every 20": {"bilevel__upper_every": 20},
  "bridge 16": {"bilevel__bridge_hidden": (16,)},
  "bridge of the target's size": {"bilevel__bridge_hidden": ()},
}
_TOGETHER = {
  "rows 2,000 + every 10": {
    "decision__rows": 2_000,
    "bilevel__upper_every": 10,
  },
  "rows 2,000 + n_cg 3": {"decision__rows": 2_000, "bilevel__n_cg": 3},
  "rows 2,000 + every 10 + n_cg 3": {
    "decision__rows": 2_000,
    "bilevel__upper_every": 10,
    "bilevel__n_cg": 3,
  },
}


def gather_only(stage: Stage) -> Stage:
  """The stage with a step that reads its rows and learns nothing."""

  def step(key, state, block, aux):
    del key, aux
    read = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(block.samples))
    return state.replace(step=state.step + block.rows.shape[0]), {"read": read}

  return stage._replace(step=step)


def chosen(base: Config) -> dict[str, Config]:
  """Returns the settings of the rows to run, by name.

  Args:
    base: settings of the recipe; a change that it has already makes no row.
  """
  known = _CHANGES | _TOGETHER
  list_flags.refuse_unknown(_CHANGES_GIVEN, known)
  made = {
    name: shape_config(SHAPE.value, _RECIPE.value, **known[name])
    for name in known
    if name in (_CHANGES_GIVEN.value or known)
  }
  return {name: config for name, config in made.items() if config != base}


def main() -> None:
  """Runs the rounds and prints the table."""
  base = shape_config(SHAPE.value, _RECIPE.value)
  changed = chosen(base)
  every = {own.bilevel.upper_every for own in (base, *changed.values())}
  block = math.lcm(*every)
  batches = math.ceil(BATCHES.value / block) * block
  study = simulated(base)
  states: dict[Any, Any] = {}

  def epoch(method, config=base, edit=lambda stage: stage):
    # upper_every and the like keep the structure of the state.
    hidden = config.bilevel.bridge_hidden
    kind = "TSM-SL-BOTH" if method == "TSM-SL-BOTH" else "Bi-DFCL-PPL"
    if (kind, hidden) not in states:
      own = dataclasses.replace(
        base, bilevel=dataclasses.replace(base.bilevel, bridge_hidden=hidden)
      )
      states[kind, hidden] = warm(kind, own, study)
    return last_stage(method, config, states[kind, hidden], batches, edit)

  epochs = {
    "TSM-SL": epoch("TSM-SL-BOTH"),
    "full": epoch("Bi-DFCL-PPL"),
    "no bridge update (FROZEN)": epoch("FROZEN"),
    "TSM-SL, rows read only": epoch("TSM-SL-BOTH", edit=gather_only),
  }
  for name, config in changed.items():
    epochs[name] = epoch("Bi-DFCL-PPL", config)
  seconds, _ = rounds(
    {name: each.runner() for name, each in epochs.items()}, REPEATS.value
  )
  lines = []
  for name in epochs:
    own = seconds[name]
    lines.append(
      {
        _RECIPE.value: name,
        "ms/batch": 1e3 * statistics.median(own.wall) / batches,
        "x TSM-SL": median_ratio(own.wall, seconds["TSM-SL"].wall),
        "by CPU": median_ratio(own.cpu, seconds["TSM-SL"].cpu),
        "saved": 1 - median_ratio(own.cpu, seconds["full"].cpu),
      }
    )
  publish(
    f"{_RECIPE.value}, one change at a time, --shape={SHAPE.value}, "
    f"{REPEATS.value} rounds of {batches} batches.",
    lines,
  )


if __name__ == "__main__":
  guard.run(main)
