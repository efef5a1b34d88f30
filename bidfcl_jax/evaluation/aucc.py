"""AUCC, the area under the cost curve of two arms, by sorted prefix sums.

The paper's metric on Criteo, as in the authors' public DFCL code. Rows are
walked in falling order of predicted return on investment

  (r1_hat - r0_hat) / (c1_hat - c0_hat)

and after each prefix dC = (cost of its treated) / n1 - (cost of its control)
/ n0, and dR likewise, n1 and n0 the totals of the whole set. dR is recorded
where dC first reaches q / Q of its final value, q = 1..Q-1, at most one
record a row, and at the end:

  AUCC = sum of the Q + 1 records (the start is 0) / (final dR (Q + 1))

Random order gives 0.5. Rows of equal score enter together as one block with a
straight line inside, so the order of the rows is immaterial.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bidfcl_jax.types import Array, Outcomes, Samples

SMALLEST_COST = 1e-6


class AuccResult(NamedTuple):
  """AUCC and what it is made of; floats.

  Attributes:
    area: the normalised area, or NaN.
    raw: area times the final dR, revenue units; NaN where dC has no levels.
    cost: final dC, the estimated cost of treating everyone.
    revenue: final dR, the same of revenue.
    reason: why area is NaN; "" where it is not.
  """

  area: float
  raw: float
  cost: float
  revenue: float
  reason: str


def return_on_investment(outcomes: Outcomes) -> np.ndarray:
  """Returns the predicted ROI of arm 1 over arm 0, `[n]` float64.

  A cost difference below 1e-6 in size is set to 1e-6.

  Raises:
    ValueError: not two arms, or a prediction that is not finite.
  """
  shape = np.shape(outcomes.revenue)
  if len(shape) != 2 or shape[1] != 2:
    raise ValueError(
      f"AUCC is for 2 arms, but predictions have shape {shape}; use cost_curve "
      "and area_under_curve for more"
    )
  revenue = np.asarray(outcomes.revenue, np.float64)
  cost = np.asarray(outcomes.cost, np.float64)
  gain, spend = revenue[:, 1] - revenue[:, 0], cost[:, 1] - cost[:, 0]
  bad = np.flatnonzero(~np.isfinite(gain + spend))
  if len(bad):
    raise ValueError(
      f"the prediction of row {bad[0]} is not finite (revenue "
      f"{revenue[bad[0]].tolist()}, cost {cost[bad[0]].tolist()})"
    )
  return gain / np.where(np.abs(spend) < SMALLEST_COST, SMALLEST_COST, spend)


def aucc_by_weight(
  outcomes: Outcomes, samples: Samples, *, bins: int = 200
) -> Callable[[Array], AuccResult]:
  """Sorts once and returns weights `[n]` -> AuccResult, for the bootstrap.

  Args and errors as of `aucc_result`.
  """
  score = return_on_investment(outcomes)
  if len(score) != len(samples):
    raise ValueError(
      f"{len(score)} predictions for {len(samples)} rows; they must describe "
      "the same individuals"
    )
  arm = np.asarray(samples.arm)
  other = np.flatnonzero((arm != 0) & (arm != 1))
  if len(other):
    raise ValueError(
      f"row {other[0]} has arm {arm[other[0]]}, but AUCC compares arm 1 with "
      "arm 0; leave the rows of other arms out"
    )
  if bins < 2:
    raise ValueError(f"bins={bins}: an area needs at least 2 levels")
  order = np.argsort(-score)
  starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
  if len(starts) == len(order):
    starts = None
  sides = np.stack([arm == 0, arm == 1]).astype(np.float64)
  rows = _sorted_rows(samples, sides, order)
  # The curve moves only where something was paid or earned, often in one row
  # of five; the others matter for ties and for levels that have to wait.
  moving = None
  if starts is None:
    moves = (rows.cost != 0).any(0) | (rows.revenue != 0).any(0)
    moving = _sorted_rows(samples, sides, order[moves]) if moves.any() else None

  def evaluate(weight: Array) -> AuccResult:
    weight = np.asarray(weight, np.float64)
    # No BLAS: its threads cost more than these two sums.
    mass = np.einsum("ki,i->k", sides, weight)
    if not mass.all():
      nan, arm = float("nan"), int(mass[1] == 0)
      return AuccResult(nan, nan, nan, nan, f"no row of arm {arm}")
    if moving is not None:
      cost, revenue = _walk(moving, weight, mass)
      reached = _first_reaching(cost, bins)
      if cost[-1] > 0 and (np.diff(reached) > 0).all():
        return _area(revenue[reached], cost, revenue, bins)
    cost, revenue = _walk(rows, weight, mass)
    counts = weight[order] > 0
    blocks = np.arange(len(order)) if starts is None else starts
    size = np.add.reduceat(counts.astype(np.int64), blocks)
    last = np.append(blocks[1:], len(order)) - 1
    cost, revenue = cost[last[size > 0]], revenue[last[size > 0]]
    records = _records(cost, revenue, size[size > 0] > 1, bins)
    return _area(records, cost, revenue, bins)

  return evaluate


class _Rows(NamedTuple):
  """Rows in walking order: where they stand, and money `[2, k]` by arm."""

  place: np.ndarray
  cost: np.ndarray
  revenue: np.ndarray


def _sorted_rows(samples, sides, index) -> _Rows:
  money = (np.asarray(y)[index] for y in (samples.cost, samples.revenue))
  return _Rows(index, *(sides[:, index] * y for y in money))


def _walk(rows: _Rows, weight, mass) -> tuple[np.ndarray, np.ndarray]:
  """Returns (dC, dR) after each row.

  Two running sums of raw outcomes each: exact for whole numbers, so that a
  level that is met exactly is met in any order of the rows.
  """
  weight = weight[rows.place]

  def running(y, arm):
    return np.cumsum(weight * y[arm]) / mass[arm]

  return tuple(running(y, 1) - running(y, 0) for y in (rows.cost, rows.revenue))


def _first_reaching(cost, bins) -> np.ndarray:
  """Returns where dC first reaches q / Q of its end, `[Q - 1]`."""
  levels = np.arange(1, bins) / bins * cost[-1]
  return np.searchsorted(np.maximum.accumulate(cost), levels)


def _area(records, cost, revenue, bins) -> AuccResult:
  """Names what the records and the ends of the curve amount to."""
  total_cost, total = float(cost[-1]), float(revenue[-1])
  if total_cost <= 0:
    reason = f"the treated cost no more than the control (dC {total_cost:.6g})"
    return AuccResult(np.nan, np.nan, total_cost, total, reason)
  raw = float((records.sum() + total) / (bins + 1))
  if total == 0:
    reason = "the treated earn exactly what the control earns (dR 0)"
    return AuccResult(np.nan, raw, total_cost, total, reason)
  return AuccResult(raw / total, raw, total_cost, total, "")


def _records(cost, revenue, line, bins) -> np.ndarray:
  """Returns dR where dC first reaches each level, one level a single row.

  On a line (a block of several rows) every level is met where the line
  crosses it; levels left waiting by earlier rows are met at its start.
  """
  reached = _first_reaching(cost, bins)
  levels = np.arange(1, bins) / bins * cost[-1]
  start_cost = np.concatenate([[0.0], cost[:-1]])
  start = np.concatenate([[0.0], revenue[:-1]])
  highest = np.where(line, np.maximum(cost, start_cost), cost)
  records, free = [], 0
  for at, level in zip(reached, levels, strict=True):
    at = max(at, free)
    if at < len(cost) and highest[at] < level:
      # A level that had to wait may meet a dC that has fallen again.
      again = np.flatnonzero(highest[at:] >= level)
      at = at + again[0] if len(again) else len(cost)
    if at == len(cost):
      break
    free = at if line[at] else at + 1
    if not line[at]:
      records.append(revenue[at])
    elif start_cost[at] >= level:
      records.append(start[at])
    else:
      share = (level - start_cost[at]) / (cost[at] - start_cost[at])
      records.append(start[at] + share * (revenue[at] - start[at]))
  return np.array(records)


def aucc_result(
  outcomes: Outcomes, samples: Samples, *, bins: int = 200
) -> AuccResult:
  """Computes the area under the cost curve and says why where it cannot.

  Args:
    outcomes: predictions `[n, 2]`, original units.
    samples: randomised Samples of the same individuals; rows of weight 0 are
      left out.
    bins: Q, levels of dC; 200 in the authors' code.

  Returns:
    AuccResult; all sums are in float64 on the host.

  Raises:
    ValueError: not two arms, another number of rows, a prediction that is not
      finite or an arm code above 1 (its row is named), or fewer than 2 bins.
  """
  return aucc_by_weight(outcomes, samples, bins=bins)(samples.weight)


def aucc(outcomes: Outcomes, samples: Samples, *, bins: int = 200) -> float:
  """Returns the normalised area of `aucc_result`; NaN where undefined."""
  return aucc_result(outcomes, samples, bins=bins).area
