"""From two sides of a jump to one allocation that uses the budget.

Equal individuals jump at the same price (method.md: ties), so the feasible
side may treat none of them where the budget pays for half. Whole individuals
are moved across the jump until the budget is used; a mixture of policies would
spend it only on average.
"""

import jax
import numpy as np

from bidfcl_jax.allocation import host
from bidfcl_jax.keys import host_generator
from bidfcl_jax.types import Allocation, Array, Outcomes


def realise(
  allocation: Allocation, outcomes: Outcomes, budget: Array, key: jax.Array
) -> np.ndarray:
  """Moves individuals to `arms_over`, best slope first, while spend <= b.

  Args:
    allocation: what `solve` returned for these outcomes and this budget.
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.
    budget: b, per capita, original units.
    key: decides among equal slopes.

  Returns:
    `[n]` int32 arms whose predicted spend, a float64 mean, is at most b; the
    allocation's own `arms` where these already exceed it (INFEASIBLE, or
    solved for an estimated spend).

  Raises:
    ValueError: a budget that is negative or not finite, or arms and outcomes
      that disagree in their rows.
  """
  limit = host.budget_of(budget)
  revenue, cost, _ = host.checked(outcomes)
  arms = np.array(allocation.arms, np.int32)
  over = np.asarray(allocation.arms_over, np.int32)
  if arms.shape != revenue.shape[:1] or over.shape != arms.shape:
    raise ValueError(
      f"allocation has {arms.shape} arms but outcomes {revenue.shape}; give "
      "the outcomes that were solved"
    )
  rows = np.flatnonzero(arms != over)
  gain = host.at(revenue[rows], over[rows]) - host.at(revenue[rows], arms[rows])
  step = host.at(cost[rows], over[rows]) - host.at(cost[rows], arms[rows])
  paid = step > 0
  slope = np.where(paid, gain / np.where(paid, step, 1), np.inf)
  shuffled = host_generator(key).permutation(len(rows))
  order = shuffled[np.argsort(-slope[shuffled], kind="stable")]
  left = limit * len(cost) - host.at(cost, arms).sum()
  # A running sum rounds: it may offer one too many, never one too few.
  slack = 1e-12 * limit * len(cost)
  moved = int(np.searchsorted(np.cumsum(step[order]), left + slack, "right"))
  while True:
    chosen = rows[order[:moved]]
    trial = arms.copy()
    trial[chosen] = over[chosen]
    if moved == 0 or host.mean_at(cost, trial) <= limit:
      return trial
    moved -= 1
