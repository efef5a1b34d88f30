"""All budgets at once: the exact path of the linear relaxation (MTBAP).

For one individual only the arms on the upper convex hull of (cost, revenue)
are ever chosen, in order of cost, as the price falls. Sorting the steps of all
hulls by slope and adding them up gives revenue against budget for every budget
(the greedy solution of the relaxed multiple-choice knapsack problem, Sinha and
Zoltners 1979).
"""

import numpy as np

from bidfcl_jax.allocation import host
from bidfcl_jax.types import Array, Curve, Outcomes


def path(outcomes: Outcomes) -> Curve:
  """Traces revenue over budget from the cheapest arms to the free optimum.

  Args:
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.

  Returns:
    Curve of float64 arrays `[k]`, k <= n (M - 1) + 1, per capita, increasing
    in cost and concave. `price[i]` is the least price at which point i is the
    feasible side (0 at the end). Straight lines between points are mixtures.

  Raises:
    ValueError: shapes that disagree or cells that are not finite.
  """
  revenue, cost, _ = host.checked(outcomes)
  steps, start = [], np.zeros(2)
  for _, gain, paid in host.blocks(revenue, cost):
    first, taken = _hull_steps(gain, paid)
    start += first
    steps.append(taken)
  slope, more_cost, more_revenue = np.concatenate(steps, axis=1)
  order = np.argsort(-slope)
  count = len(revenue)
  return Curve(
    cost=_running(start[0], more_cost[order]) / count,
    revenue=_running(start[1], more_revenue[order]) / count,
    price=np.append(slope[order], 0.0),
  )


def revenue_at(curve: Curve, budget: Array) -> np.ndarray:
  """Returns the revenue that each budget buys on a curve, per capita.

  Exact for `path`: the value of the linear relaxation. Above the last point
  the budget does not bind and the last revenue is returned.

  Args:
    curve: costs increasing.
    budget: scalar or array, per capita, original units.

  Raises:
    ValueError: a budget that is NaN or below the first point.
  """
  budget = np.asarray(budget, np.float64)
  fits = budget >= curve.cost[0]
  if not fits.all():
    raise ValueError(
      f"budget {budget[~fits].min()} is below {curve.cost[0]}, the cost of "
      "the cheapest allocation"
    )
  return np.interp(budget, curve.cost, curve.revenue)


def _running(start: float, steps: np.ndarray) -> np.ndarray:
  return np.cumsum(np.concatenate([[start], steps]))


def _hull_steps(gain: np.ndarray, paid: np.ndarray):
  """Walks the upper hull of each column from its cheapest arm.

  Args:
    gain: revenue `[M, rows]`.
    paid: cost `[M, rows]`.

  Returns:
    (summed cost and revenue of the cheapest arms `[2]`, the steps `[3, k]`:
    slope, cost, revenue).
  """
  at_cost = paid.min(axis=0)
  at_gain = np.where(paid == at_cost, gain, -np.inf).max(axis=0)
  start = np.array([at_cost.sum(), at_gain.sum()])
  steps = []
  for _ in range(len(paid) - 1):
    slope = np.zeros_like(at_cost)
    step, rise = np.zeros_like(at_cost), np.zeros_like(at_cost)
    for cost, revenue in zip(paid, gain, strict=True):
      run, lift = cost - at_cost, revenue - at_gain
      usable = (run > 0) & (lift > 0)
      with np.errstate(over="ignore"):
        ratio = np.where(usable, lift, 0) / np.where(usable, run, 1)
      ratio = np.minimum(ratio, np.finfo(np.float64).max)
      # Of arms on one line the dearest: fewer steps, the same curve.
      better = (ratio > slope) | ((ratio == slope) & usable & (run > step))
      slope = np.where(better, ratio, slope)
      step = np.where(better, run, step)
      rise = np.where(better, lift, rise)
    moves = step > 0
    if not moves.any():
      break
    at_cost, at_gain = at_cost + step, at_gain + rise
    steps.append(np.stack([slope, step, rise])[:, moves])
  return start, np.concatenate([np.empty((3, 0)), *steps], axis=1)
