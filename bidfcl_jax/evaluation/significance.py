"""Paired tests of two methods over the same seeds, and Holm's correction.

Beyond the paper, whose tables give mean +- standard deviation only: a world or
a split is shared by all methods of a table, so the difference per seed is far
less noisy than the difference of two means.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtr


class Paired(NamedTuple):
  """A paired two-sided t test; scalars, in the units of the metric.

  Attributes:
    difference: mean of a - b.
    se: its standard error; NaN for fewer than two pairs.
    t: difference / se; 0 where all pairs are equal, infinite where all
      differences are one and the same non-zero number.
    p: two-sided p-value with n - 1 degrees of freedom.
    wins: pairs with a > b.
    n: pairs.
  """

  difference: float
  se: float
  t: float
  p: float
  wins: int
  n: int


def paired(a, b) -> Paired:
  """Tests whether a and b have the same mean over the same seeds.

  Args:
    a: `[n]` metric of one method, one value a seed.
    b: `[n]` metric of the other, same seeds in the same order.

  Returns:
    Paired; se, t and p are NaN where n < 2.

  Raises:
    ValueError: shapes differ or are not one-dimensional, no pair, or a value
      that is not finite (its seed position is named).
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  if a.shape != b.shape or a.ndim != 1 or not len(a):
    raise ValueError(
      f"a paired test needs one value per seed and method; got shapes "
      f"{a.shape} and {b.shape}"
    )
  for name, values in (("a", a), ("b", b)):
    if not np.isfinite(values).all():
      seed = int(np.flatnonzero(~np.isfinite(values))[0])
      raise ValueError(
        f"{name}[{seed}] is {values[seed]}: leave that seed out of both methods"
      )
  gap = a - b
  n, difference = len(gap), float(gap.mean())
  wins = int((gap > 0).sum())
  if n < 2:
    return Paired(difference, np.nan, np.nan, np.nan, wins, n)
  if np.ptp(gap) == 0:
    constant = float(gap[0])
    t = np.copysign(np.inf, constant) if constant else 0.0
    return Paired(constant, 0.0, float(t), 0.0 if constant else 1.0, wins, n)
  se = float(gap.std(ddof=1) / np.sqrt(n))
  t = difference / se
  return Paired(difference, se, t, float(2 * stdtr(n - 1, -abs(t))), wins, n)


def holm(p_values) -> np.ndarray:
  """Returns Holm's step-down adjusted p-values, in the order given.

  The k-th smallest of m is multiplied by m - k + 1, made non-decreasing and
  capped at 1: comparing them with alpha bounds the chance of any false claim.

  Args:
    p_values: `[m]`; NaN (a test that could not be made) stays NaN and is not
      counted.

  Returns:
    `[m]` float64.

  Raises:
    ValueError: a p-value outside [0, 1].
  """
  p = np.asarray(p_values, np.float64)
  if ((p < 0) | (p > 1)).any():
    raise ValueError(f"p-values must lie in [0, 1]; got {p.tolist()}")
  made = np.flatnonzero(~np.isnan(p))
  order = made[np.argsort(p[made], kind="stable")]
  factors = np.arange(len(order), 0, -1)
  adjusted = np.full(p.shape, np.nan)
  adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
  return adjusted
