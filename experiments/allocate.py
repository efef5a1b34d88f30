r"""Gives individuals of a file their arms, by a trained run and a budget.

  python -m experiments.allocate --workdir=runs/mine --input=people.parquet \
    --budget=1.5 --output=arms.csv --explore=0.05

The file needs the feature columns of the run. The price comes from the spend
that the run's experiment measured (--price_from=rct) or from predicted costs
(model). --explore=e gives a random share e a uniform arm and writes every
row's propensity: the next experiment.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from bidfcl_jax import allocation, evaluation
from bidfcl_jax.allocation.host import mean_at
from bidfcl_jax.keys import stream
from bidfcl_jax.training import Served
from experiments import (
  allocating,
  common,
  data_flags,
  guard,
  individuals,
  stored,
)
from experiments.allocation_output import check_files

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.")
INPUT = flags.DEFINE_string("input", None, "CSV, gzipped CSV or Parquet file.")
OUTPUT = flags.DEFINE_string("output", None, ".csv, .csv.gz or .parquet file.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the output.")
METHOD = flags.DEFINE_string("method", None, "One of the run's methods.")
SEED = flags.DEFINE_integer("seed", None, "One of the run's seeds.")
TOTAL_BUDGET = flags.DEFINE_float(
  "total_budget", None, "Budget over all individuals; or give --budget."
)
PRICE_FROM = flags.DEFINE_enum(
  "price_from",
  "rct",
  ["rct", "model"],
  "rct: the price whose spend, measured on the run's experiment, is the "
  "budget. model: the price whose predicted spend is; never above it.",
)
EXPLORE = flags.DEFINE_float(
  "explore", 0.0, "Share of individuals that get a uniform arm."
)
ELIGIBLE = flags.DEFINE_list(
  "eligible_columns", [], "A bool column for each arm, in their order."
)
KEY = flags.DEFINE_integer("draw", 0, "Number of the random draw.")
REPLICATES = flags.DEFINE_integer("replicates", 200, "Bootstrap draws.", 2)


def _of_all(policy: float, arms: np.ndarray, done, explore: float) -> float:
  """Returns the spend of all individuals, per capita.

  Args:
    policy: spend of the arms at the price.
    arms: `[M]` spend of giving everyone one arm.
    done: says which share was left alone.
    explore: share with a uniform arm.
  """
  policy = (1 - done.held) * policy + done.held * arms[0]
  return float((1 - explore) * policy + explore * arms.mean())


def _rct_spend(served: Served, done, explore: float, key):
  """Returns RCT-estimated (spend, low, high) of all individuals, per capita."""
  interval = evaluation.rct_spend(
    served.predicted,
    served.logged,
    done.price,
    key,
    replicates=REPLICATES.value,
  )
  arms = allocating.arm_spend(served)
  return tuple(
    _of_all(float(policy), arms, done, explore)
    for policy in (interval.estimate, interval.low, interval.high)
  )


def _true_spend(served: Served, workdir: str, done, explore: float):
  """Returns what the price truly spends in a simulated run's own world.

  Per capita over the world's test individuals; None of other data.
  """
  if served.record.get("flags", {}).get("data") != "simulated":
    return None
  study = data_flags.world(stored.settings_of(workdir), served.record["seed"])
  cost = np.asarray(study.truth.outcomes.cost, np.float64)
  predicted = served.outcomes(study.rct_test.features)
  arms = np.asarray(allocation.choose(predicted, done.price))
  return _of_all(mean_at(cost, arms), cost.mean(axis=0), done, explore)


def summary(served: Served, request, done, spend, true) -> str:
  """Returns what the command prints."""
  count, (rct, low, high) = done.count, spend
  taken = ", ".join(
    f"{name} {n:,}" for name, n in zip(served.arm_names, done.arms, strict=True)
  )
  lines = [
    f"{count:,} individuals: {taken}",
    f"price {done.price:.6g} (from {request.price_from}), budget "
    f"{done.budget:.6g} per capita, {done.budget * count:,.2f} in all",
    f"model spend {done.cost:.6g} per capita, {done.cost * count:,.2f} in all; "
    f"expected revenue {done.revenue:.6g}, {done.revenue * count:,.2f} in all",
    f"RCT-estimated spend {rct:.6g} per capita (95 %: {low:.6g} to {high:.6g})",
  ]
  if true is not None:
    lines.append(
      f"true spend {true:.6g} per capita, of the run's simulated test part"
    )
  if request.price_from == "model":
    lines.append(
      f"gap to the bound on predicted revenue {done.bound - done.revenue:.3g} "
      "per capita"
    )
  if done.held:
    lines.append(
      f"{done.held:.3g} of the individuals get the control in place of their "
      "arm: no price spends as little as the budget"
    )
  if done.explored:
    lines.append(f"{done.explored:,} individuals explore")
  if done.floored:
    lines.append(f"{done.floored:,} negative predicted costs counted as 0")
  if request.eligible_columns:
    lines.append(
      "RCT-estimated spend is that of the policy without eligibility"
    )
  if done.price == 0:
    lines.append("the budget does not bind: everyone gets the best arm")
  if abs(done.cost - rct) > 0.05 * abs(rct):
    lines.append(
      f"warning: model spend and RCT-estimated spend differ by "
      f"{done.cost - rct:+.4g} per capita, over 5 %: trust the experiment"
    )
  return "\n".join(lines)


def main() -> None:
  """Runs the command."""
  for flag in (WORKDIR, INPUT, OUTPUT):
    if flag.value is None:
      raise ValueError(f"allocate needs --{flag.name}")
  check_files(INPUT.value, OUTPUT.value, overwrite=OVERWRITE.value)
  method, seed = stored.choose(WORKDIR.value, METHOD.value, SEED.value)
  served = stored.open_fit(WORKDIR.value, method, seed)
  budget = common.BUDGET.value
  if budget is None and TOTAL_BUDGET.value is None:
    budget = served.budget
  known = served.record.get("flags", {}).get("id_column")
  request = individuals.Request(
    source=Path(INPUT.value),
    output=Path(OUTPUT.value),
    budget=budget,
    total_budget=TOTAL_BUDGET.value,
    price_from=PRICE_FROM.value,
    explore=EXPLORE.value,
    eligible_columns=tuple(ELIGIBLE.value),
    id_column=individuals.id_column_of(
      INPUT.value, data_flags.ID_COLUMN.value, known
    ),
  )
  key = stream(jax.random.key(KEY.value), "allocate")
  done = allocating.allocate(served, request, key)
  spend = _rct_spend(served, done, EXPLORE.value, stream(key, "interval"))
  print(f"{method}, seed {seed}: {OUTPUT.value}")
  true = _true_spend(served, WORKDIR.value, done, EXPLORE.value)
  print(summary(served, request, done, spend, true))


if __name__ == "__main__":
  guard.run(main)
