"""The exact price for predicted costs, in float64 on the host (Alg. 2).

Halving again, but on ever fewer rows. An arm's cost falls as the price rises,
so a row whose arm is the same at both ends of a bracket keeps it in between
and is settled. A strided sample gives a narrow bracket first, so that all rows
are looked at twice and only a few per cent of them afterwards. The search ends
at two neighbouring floats: the jump is met exactly, and equal individuals jump
together.
"""

from typing import NamedTuple

import numpy as np

from bidfcl_jax.allocation.choice import greatest_slope
from bidfcl_jax.allocation.host import arms_at, at

SAMPLE = 32_768
WIDTH = 1.04  # of the first bracket around the sample's price, each way


class Jump(NamedTuple):
  """Both sides of the jump; `price` belongs to `arms`, the side within b."""

  price: float
  arms: np.ndarray
  arms_over: np.ndarray


def search(revenue: np.ndarray, cost: np.ndarray, total: float) -> Jump:
  """Finds the least price whose allocation spends at most `total`.

  Args:
    revenue: `[n, M]`.
    cost: `[n, M]`, not negative.
    total: budget of all n rows together.

  Returns:
    The Jump; both sides are equal at price 0 (the budget does not bind) and
    at the upper end of prices (the cheapest arms, which may overspend).
  """
  low, high, over, arms, spent = _bracket(revenue, cost, total)
  rows = np.flatnonzero(over != arms)
  revenue, cost = revenue[rows], cost[rows]
  settled = spent - at(cost, arms[rows]).sum()
  low, high = bits(low), bits(high)
  while high - low > 1 and len(rows):
    middle = low + (high - low) // 2
    ((chosen, spend),) = arms_at(revenue, cost, (price_of(middle),))
    if settled + spend > total:
      low, over[rows] = middle, chosen
    else:
      high, arms[rows] = middle, chosen
    kept = over[rows] != arms[rows]
    if not kept.all():
      settled += at(cost, arms[rows])[~kept].sum()
      rows, revenue, cost = rows[kept], revenue[kept], cost[kept]
  return Jump(price_of(high), arms, over)


def upper_end(revenue: np.ndarray, cost: np.ndarray) -> float:
  """Returns a price at which every row takes its cheapest arm."""
  columns = revenue.T.astype(np.float64), cost.T.astype(np.float64)
  with np.errstate(over="ignore"):
    return 2 * float(greatest_slope(*columns, True, xp=np))


def _bracket(revenue, cost, total):
  """Returns (low, high, arms at low, arms at high, spend at high)."""
  stride = -(-len(revenue) // SAMPLE)
  if stride > 1:
    sample = revenue[::stride], cost[::stride]
    guess = search(*sample, total * len(sample[0]) / len(revenue)).price
    low, high, top = guess / WIDTH, guess * WIDTH, None
  else:
    top = upper_end(revenue, cost)
    low, high = 0.0, top
  while True:
    (over, more), (arms, less) = arms_at(revenue, cost, (low, high))
    if less > total:
      top = upper_end(revenue, cost) if top is None else top
      if high >= top:
        return high, high, arms, arms, less
      low, high = high, top
    elif more > total:
      return low, high, over, arms, less
    elif low == 0:
      return 0.0, 0.0, over, over.copy(), more
    else:
      low, high = 0.0, low


def bits(price: float) -> int:
  """Returns the whole number that orders as the price does."""
  return int(np.float64(price).view(np.int64))


def price_of(bits: int) -> float:
  """Returns the price of `bits`."""
  return float(np.int64(bits).view(np.float64))
