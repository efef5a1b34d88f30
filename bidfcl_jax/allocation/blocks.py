"""One budget for more individuals than memory holds: exact, a block at a time.

The search of search.py with one difference: rows are visited in blocks that
can be produced again. A strided sample brackets the price, a pass over all
rows checks the bracket, and only the rows whose arm differs between its ends
(a few per cent) come into memory, where `solve` and `realise` finish. Where
they are still too many, passes halve the bracket first.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from bidfcl_jax.allocation import search
from bidfcl_jax.allocation.host import arms_at, at
from bidfcl_jax.allocation.realise import realise
from bidfcl_jax.allocation.solve import solve
from bidfcl_jax.types import Outcomes

Blocks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
_UNDECIDED = 2_000_000


class BlockPlan(NamedTuple):
  """What every row needs to know: its arm at the price, and who was moved.

  Attributes:
    price: of the feasible side; 0 where the budget does not bind.
    moved: row numbers, increasing, that take their arm of the next lower
      price, so that the budget is used.
    tie: share of the rows at the jump that were moved.
  """

  price: float
  moved: np.ndarray
  tie: float

  def arms(
    self, rows: np.ndarray, revenue: np.ndarray, cost: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chooses for a block.

    Args:
      rows: `[k]` row numbers.
      revenue: `[k, M]`.
      cost: `[k, M]`, not negative.

    Returns:
      (arms, arms at the price, arms at the next lower price), `[k]` int32.
    """
    below = np.nextafter(self.price, 0.0)
    (under, _), (over, _) = arms_at(revenue, cost, (self.price, below))
    return np.where(np.isin(rows, self.moved), over, under), under, over


def solve_blocks(
  blocks: Blocks,
  count: int,
  total: float,
  key: jax.Array,
  *,
  undecided: int = _UNDECIDED,
) -> BlockPlan:
  """Finds the allocation of `solve` and `realise` without holding all rows.

  Args:
    blocks: yields (row numbers `[k]`, revenue `[k, M]`, cost `[k, M]`) of all
      rows, the same each time it is called; costs not negative.
    count: number of rows.
    total: budget of all rows together, original units.
    key: decides among equal slopes.
    undecided: most rows in memory at the end (rows that tie at one price may
      be more).

  Returns:
    BlockPlan whose spend, summed in float64, is at most `total`.

  Raises:
    ValueError: even the cheapest arms cost more than the budget.
  """
  low, high = _bracket(blocks, count, total, undecided)
  if high == 0:
    return BlockPlan(0.0, np.empty(0, np.int64), 0.0)
  rows, revenue, cost, settled = _open_rows(blocks, low, high)
  outcomes = Outcomes(revenue, cost)
  # Sums of blocks round otherwise than the whole: a second try gives way.
  for change in (0.0, 1e-12):
    budget = max(total * (1 - change) - settled, 0.0) / len(rows)
    plan = solve(outcomes, budget)
    arms = realise(plan, outcomes, budget, key)
    if settled + at(cost, arms).sum() <= total:
      break
  jump = plan.arms != plan.arms_over
  moved = arms != plan.arms
  tie = moved.sum() / jump.sum() if jump.any() else 0.0
  return BlockPlan(float(plan.price), rows[moved], float(tie))


def _bracket(blocks: Blocks, count, total, undecided) -> tuple[float, float]:
  """Returns prices around the jump; (0, 0) where the budget does not bind."""
  guess = _sampled_price(blocks, count, total)
  low, high, top = guess / search.WIDTH, guess * search.WIDTH, None
  while True:
    (more, less), (differ,) = _measure(blocks, (low, high))
    if less > total:
      if top is None:
        top = max(search.upper_end(r, c) for _, r, c in blocks())
      if high >= top:
        raise ValueError(
          f"even the cheapest arms cost {less / count:g} a row, more than the "
          f"budget {total / count:g}; raise the budget"
        )
      low, high = high, top
    elif more > total:
      break
    elif low == 0:
      return 0.0, 0.0
    else:
      low, high = 0.0, low
  while differ > undecided and search.bits(high) - search.bits(low) > 1:
    middle = search.price_of((search.bits(low) + search.bits(high)) // 2)
    (_, spent, _), (left, right) = _measure(blocks, (low, middle, high))
    if spent > total:
      low, differ = middle, right
    else:
      high, differ = middle, left
  return low, high


def _sampled_price(blocks: Blocks, count: int, total: float) -> float:
  stride = -(-count // search.SAMPLE)
  taken = [(r[::stride].copy(), c[::stride].copy()) for _, r, c in blocks()]
  revenue, cost = (np.concatenate(part) for part in zip(*taken, strict=True))
  return search.search(revenue, cost, total * len(cost) / count).price


def _measure(blocks: Blocks, prices) -> tuple[list[float], list[int]]:
  """Returns total spend at each price, and rows that differ between them."""
  spends = [[] for _ in prices]
  differ = [0] * (len(prices) - 1)
  for _, revenue, cost in blocks():
    chosen = arms_at(revenue, cost, prices)
    for place, (arms, spend) in enumerate(chosen):
      spends[place].append(spend)
      if place:
        differ[place - 1] += np.count_nonzero(arms != chosen[place - 1][0])
  return [math.fsum(parts) for parts in spends], differ


def _open_rows(blocks: Blocks, low: float, high: float):
  """Returns the rows that the bracket leaves open, and what the rest spends."""
  parts, settled = [], []
  for rows, revenue, cost in blocks():
    (over, _), (under, _) = arms_at(revenue, cost, (low, high))
    same = over == under
    settled.append(at(cost[same], under[same]).sum())
    parts.append((rows[~same], revenue[~same], cost[~same]))
  rows, revenue, cost = (
    np.concatenate(part) for part in zip(*parts, strict=True)
  )
  return rows, revenue, cost, math.fsum(settled)
