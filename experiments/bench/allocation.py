r"""Times the allocation of one budget and the path of all budgets.

    python -m experiments.bench.allocation --individuals=1000000 --arms=5,8

Prints one JSON line a size: median seconds of each over `--repeats` rounds, all
functions once a round so that a slow spell hits all alike; seconds of the
allocation's first call, before the rounds; the duality gap and spend minus
budget of the float64 accounts; how far the mixture is from the path's value.
The textbook search (50 halvings, argmax over all rows) is the yardstick, as is
the `maq` package where it imports.
"""

import json
import math
import statistics

import numpy as np
from absl import flags

from bidfcl_jax.allocation import path, revenue_at, solve
from bidfcl_jax.types import Outcomes
from experiments import guard
from experiments.bench import list_flags
from experiments.bench.measure import REPEATS, keeping, rounds

_INDIVIDUALS = flags.DEFINE_list("individuals", ["1000000"], "n of each size")
_ARMS = flags.DEFINE_list(
  "arms", ["5"], "M of each size, the control included; one for all will do"
)
_SHARE = flags.DEFINE_float(
  "share", 0.4, "budget as a share of what the unconstrained optimum spends"
)
_DTYPE = flags.DEFINE_enum(
  "dtype", "float64", ["float32", "float64"], "of the predictions"
)
_HALVINGS = 50


def offers(n: int, arms: int, seed: int = 0) -> Outcomes:
  """Returns offers whose revenue and cost rise, concave for most, `[n, M]`."""
  rng = np.random.default_rng(seed)
  level = np.linspace(0, 0.2, arms)
  size = rng.lognormal(0, 0.5, (n, 1))
  pull = rng.gamma(2, 0.5, (n, 1))
  size = size * rng.uniform(0.05, 0.5, (n, 1))
  response = 1 - np.exp(-level * (4 + 8 * rng.random((n, 1))))
  noise = 0.05 * rng.standard_normal((n, arms)) * (level > 0)
  revenue = np.maximum(size * (1 + pull * response + noise), 0)
  return Outcomes(revenue, size * level * (1 + pull * response))


def textbook(outcomes: Outcomes, budget: float) -> float:
  """Returns the feasible price of plain halving on [0, max r / c]."""
  revenue, cost = outcomes.revenue, outcomes.cost
  rows = np.arange(len(cost))
  low = 0.0
  high = float((revenue[:, 1:] / np.maximum(cost[:, 1:], 1e-12)).max())
  for _ in range(_HALVINGS):
    middle = 0.5 * (low + high)
    arms = np.argmax(revenue - middle * cost, axis=1)
    if cost[rows, arms].mean(dtype=np.float64) > budget:
      low = middle
    else:
      high = middle
  return high


def rivals(outcomes: Outcomes, budget: float) -> dict:
  """Returns what else can be timed on this machine, by name."""
  found = {"textbook": lambda: textbook(outcomes, budget)}
  try:
    from maq import MAQ
  except ImportError:
    return found
  gain, paid = (
    np.ascontiguousarray(x[:, 1:] - x[:, :1], np.float64)
    for x in (outcomes.revenue, outcomes.cost)
  )

  def fit(**limit):
    return MAQ(n_bootstrap=0, n_threads=1, **limit).fit(gain, paid, gain)

  return found | {
    "maq_one_budget": lambda: fit(budget=budget),
    "maq_path": fit,
  }


def sizes() -> list[tuple[int, int]]:
  """Returns (n, M) of every size; a list of one serves all of the other."""
  rows = list_flags.whole_numbers(_INDIVIDUALS)
  arms = list_flags.whole_numbers(_ARMS, 2)
  longest = max(len(rows), len(arms), 1)
  if {len(rows), len(arms)} - {1, longest}:
    raise ValueError(
      f"--individuals has {len(rows)} values and --arms {len(arms)}: give as "
      "many, or one"
    )
  spread = (x * longest if len(x) == 1 else x for x in (rows, arms))
  return list(zip(*spread, strict=True))


def main() -> None:
  """Prints the lines."""
  if not 0 < _SHARE.value < math.inf:
    raise ValueError(f"--share={_SHARE.value:g}: give a positive number")
  for individuals, arms in sizes():
    print(json.dumps(measured(individuals, arms)), flush=True)


def measured(individuals: int, arms: int) -> dict:
  """Runs the rounds of one size and returns its line."""
  outcomes = offers(individuals, arms)
  outcomes = Outcomes(
    outcomes.revenue.astype(_DTYPE.value), outcomes.cost.astype(_DTYPE.value)
  )
  rows = np.arange(individuals)
  free = outcomes.cost[rows, outcomes.revenue.argmax(axis=1)]
  budget = _SHARE.value * float(free.mean(dtype=np.float64))
  runs = {
    "solve": lambda: solve(outcomes, budget),
    "path": lambda: path(outcomes),
    **rivals(outcomes, budget),
  }
  runs, results = keeping(runs)
  seconds, first = rounds(runs, REPEATS.value)
  allocation, curve = results["solve"], results["path"]
  spent = outcomes.cost[rows, allocation.arms].mean(dtype=np.float64)
  relaxed = float(revenue_at(curve, budget))
  return {
    "individuals": individuals,
    "arms": arms,
    "dtype": _DTYPE.value,
    **{
      f"{name}_s": round(statistics.median(own.wall), 4)
      for name, own in seconds.items()
    },
    "solve_first_call_s": round(first["solve"], 4),
    "gap_relative": float(allocation.gap / allocation.revenue),
    "spend_minus_budget": float(spent - budget),
    "mixture_over_path_minus_1": float(
      allocation.expected_revenue / relaxed - 1
    ),
    "path_points": len(curve.cost),
  }


if __name__ == "__main__":
  guard.run(main)
