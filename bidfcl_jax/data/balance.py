"""Was the experiment randomised? Arm sizes and features against chance.

Two tests that a sound trial passes whatever the arms do, since both look only
at what was settled before the offer: the sizes of the arms (sample-ratio
test) and the features by arm. Where all rows of each household have one arm,
the household was drawn, so households are counted and not their rows.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from bidfcl_jax.types import Samples

_RANK = 1e-10


def drawn_units(samples: Samples) -> np.ndarray:
  """Returns `[n]` number of the unit that was drawn into an arm, 0..G-1.

  The household where every one has a single arm, otherwise the row.
  """
  arm = np.asarray(samples.arm)
  _, first, unit = np.unique(
    np.asarray(samples.group), return_index=True, return_inverse=True
  )
  if np.array_equal(arm[first][unit], arm):
    return unit
  return np.arange(len(arm))


class SampleRatio(NamedTuple):
  """Pearson's chi-square test of the arms' sizes.

  Attributes:
    counts: `[M]` units (households or rows) by arm.
    expected: `[M]` units by the planned shares.
    statistic: sum (counts - expected)^2 / expected.
    p: its p value, M - 1 degrees of freedom.
  """

  counts: np.ndarray
  expected: np.ndarray
  statistic: float
  p: float


def sample_ratio(samples: Samples, shares: np.ndarray) -> SampleRatio:
  """Tests whether arms have the sizes that the design says.

  A small p means that rows were lost or added after the draw, and more of one
  arm than of another: effects are then not to be trusted, however many rows
  there are.

  Args:
    samples: randomised rows.
    shares: `[M]` planned shares of the arms, each above 0
      (data.declared_propensity).
  """
  shares = np.asarray(shares, np.float64)
  _, first = np.unique(drawn_units(samples), return_index=True)
  counts = np.bincount(np.asarray(samples.arm)[first], minlength=len(shares))
  expected = shares * counts.sum()
  statistic = float(np.sum((counts - expected) ** 2 / expected))
  p = float(chi2.sf(statistic, len(shares) - 1))
  return SampleRatio(counts, expected, statistic, p)


class Balance(NamedTuple):
  """Features by arm.

  Attributes:
    difference: `[M - 1, d]` mean of arm 1.. less the control's, over the root
      of the mean of the two variances; 0 where the feature is constant in
      both, NaN for an arm without a row.
    statistic: of the omnibus test.
    degrees: its degrees of freedom.
    p: its p value.
  """

  difference: np.ndarray
  statistic: float
  degrees: int
  p: float

  def largest(self, count: int) -> list[tuple[int, int, float]]:
    """Returns (arm, feature, difference), largest in size first."""
    size = np.nan_to_num(np.abs(self.difference), nan=-1.0)
    order = np.argsort(-size, axis=None, kind="stable")[:count]
    arms, features = np.unravel_index(order, size.shape)
    return [
      (int(j) + 1, int(k), float(self.difference[j, k]))
      for j, k in zip(arms, features, strict=True)
    ]


def _standardised_differences(features, arm, arms: int) -> np.ndarray:
  mean = np.full((arms, features.shape[1]), np.nan)
  variance = np.full_like(mean, np.nan)
  for j in range(arms):
    rows = features[arm == j]
    if len(rows):
      mean[j], variance[j] = rows.mean(axis=0), rows.var(axis=0)
  spread = np.sqrt((variance[1:] + variance[0]) / 2)
  safe = np.where(spread > 0, spread, 1.0)
  return np.where(spread == 0, 0.0, (mean[1:] - mean[0]) / safe)


def balance(samples: Samples, arms: int) -> Balance:
  """Compares the features of the arms.

  The omnibus test asks whether all features together tell the arms apart
  better than chance. With Z_g the sum over unit g of x - mean(x), U_j the sum
  of Z over arm j and S = sum_g Z_g Z_g', a random draw of units gives

    Q = (G - 1) / G  sum_j  U_j' S^+ U_j / (G_j / G)   ~   chi-square,

  (M - 1) rank(S) degrees of freedom; for single rows this is (n - 1) times
  Pillai's trace of the one-way analysis of variance. S^+ is the pseudo-inverse:
  the columns of a one-hot block may add up to 1.

  Args:
    samples: randomised rows.
    arms: M.
  """
  features = np.asarray(samples.features, np.float64)
  arm = np.asarray(samples.arm)
  unit = drawn_units(samples)
  centred = features - features.mean(axis=0)
  scale = np.sqrt(np.mean(centred**2, axis=0))
  centred = centred / np.where(scale > 0, scale, 1.0)
  units = int(unit.max()) + 1
  if units == len(unit):
    sums, unit_arm = centred, arm
  else:
    sums = np.zeros((units, features.shape[1]))
    np.add.at(sums, unit, centred)
    unit_arm = arm[np.unique(unit, return_index=True)[1]]
  values, vectors = np.linalg.eigh(sums.T @ sums)
  kept = values > _RANK * max(values[-1], np.finfo(np.float64).tiny)
  white = vectors[:, kept] / np.sqrt(values[kept])
  statistic, present = 0.0, 0
  for j in range(arms):
    mine = unit_arm == j
    if mine.any():
      present += 1
      score = sums[mine].sum(axis=0) @ white
      statistic += float(score @ score) * units / mine.sum()
  statistic *= (units - 1) / units
  degrees = max(present - 1, 0) * int(kept.sum())
  return Balance(
    _standardised_differences(features, arm, arms),
    statistic,
    degrees,
    float(chi2.sf(statistic, degrees)) if degrees else 1.0,
  )
