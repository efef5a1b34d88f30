"""Float64 views of an allocation problem on the host.

Predictions arrive in any float dtype; decisions are accounted for in float64.
Rows are worked in blocks that stay in the processor's cache, with the arms as
contiguous columns inside a block.
"""

from collections.abc import Iterator

import numpy as np

from bidfcl_jax.allocation.choice import best_arm
from bidfcl_jax.types import Outcomes

_BLOCK = 8192


def require_finite(words: str, cells: np.ndarray) -> None:
  """Refuses cells `[n, M]` of which one is not finite.

  Raises:
    ValueError: such a cell; `words` says what it is of, and its row and arm are
      named.
  """
  finite = np.isfinite(cells)
  if not finite.all():
    row, arm = np.argwhere(~finite)[0]
    raise ValueError(
      f"{words} of row {row}, arm {arm} is {cells[row, arm]}; every cell must "
      "be finite"
    )


def checked(outcomes: Outcomes) -> tuple[np.ndarray, np.ndarray, int]:
  """Returns revenue and cost `[n, M]` as NumPy, negative costs set to 0.

  Returns:
    (revenue, cost, how many costs were below 0).

  Raises:
    ValueError: shapes that are not one `[n, M]`, no individual, or a cell
      that is not finite.
  """
  revenue, cost = np.asarray(outcomes.revenue), np.asarray(outcomes.cost)
  if revenue.ndim != 2 or revenue.shape != cost.shape or not revenue.size:
    raise ValueError(
      f"predicted revenue has shape {revenue.shape} and cost {cost.shape}; "
      "both must be [n, M] with at least one individual and one arm"
    )
  for name, cells in (("revenue", revenue), ("cost", cost)):
    require_finite(f"predicted {name}", cells)
  negative = cost < 0
  floored = int(np.count_nonzero(negative))
  return revenue, np.where(negative, 0, cost) if floored else cost, floored


def blocks(
  revenue: np.ndarray, cost: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
  """Yields (rows, revenue, cost) with float64 columns `[M, block]`."""
  for start in range(0, len(revenue), _BLOCK):
    rows = slice(start, start + _BLOCK)
    yield (
      rows,
      np.array(revenue[rows].T, np.float64, order="C"),
      np.array(cost[rows].T, np.float64, order="C"),
    )


def arms_at(
  revenue: np.ndarray, cost: np.ndarray, prices: tuple[float, ...]
) -> list[tuple[np.ndarray, float]]:
  """Chooses arms at each price: z(lambda) of Alg. 2 in float64.

  Args:
    revenue: `[n, M]`.
    cost: `[n, M]`, not negative.
    prices: k prices.

  Returns:
    k pairs (arms `[n]` int32, total spend).
  """
  count, arms = revenue.shape
  # Whole columns: np.where is several times slower on a scalar branch.
  codes = np.arange(arms, dtype=np.int32)[:, None]
  codes = np.repeat(codes, min(count, _BLOCK), axis=1)
  chosen = [np.empty(count, np.int32) for _ in prices]
  spent = [0.0] * len(prices)
  for rows, gain, paid in blocks(revenue, cost):
    for k, price in enumerate(prices):
      # A huge price may overflow to -inf, which still ranks the arms.
      with np.errstate(over="ignore"):
        column = codes[:, : gain.shape[1]]
        arm, spend = best_arm(gain, paid, price, column, paid, xp=np)
      chosen[k][rows] = arm
      spent[k] += float(spend.sum())
  return list(zip(chosen, spent, strict=True))


def at(cells: np.ndarray, arms: np.ndarray) -> np.ndarray:
  """Returns `cells[i, arms[i]]` in float64, `[n]`."""
  picked = np.take_along_axis(cells, arms[:, None], axis=1)[:, 0]
  return picked.astype(np.float64)


def mean_at(cells: np.ndarray, arms: np.ndarray) -> float:
  """Returns the mean of `cells[i, arms[i]]`, summed in float64."""
  return float(at(cells, arms).mean())


def budget_of(budget) -> float:
  """Returns the budget as a float.

  Raises:
    ValueError: not one number, NaN, infinite or negative.
  """
  number = np.asarray(budget, np.float64)
  if number.ndim or not np.isfinite(number) or number < 0:
    raise ValueError(
      f"budget is {budget}; give one finite amount per capita, 0 or more"
    )
  return float(number)
