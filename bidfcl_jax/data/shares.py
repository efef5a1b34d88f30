"""Arm shares of an experiment: counted or declared, and always checked.

p_j = N_j / N over the whole RCT training set, never over a batch: with 8 arms
a batch of 1,000 has 8 % noise in every share.
"""

import numpy as np


def counted_propensity(
  arm, arms: int, *, weight=None, names=None
) -> np.ndarray:
  """Counts p_j = N_j / N.

  Args:
    arm: `[n]` int, the arm of each row.
    arms: M.
    weight: `[n]`, 0 for padding; None counts all rows.
    names: M arm names for the error message.

  Returns:
    `[M]` float64, positive, summing to 1.

  Raises:
    ValueError: an arm has no row, or a code is outside 0..M-1.
  """
  arm = np.asarray(arm)
  if len(arm) and (arm.min() < 0 or arm.max() >= arms):
    raise ValueError(
      f"arm codes run from {arm.min()} to {arm.max()}, but {arms} arms are "
      "declared"
    )
  weight = None if weight is None else np.asarray(weight, np.float64)
  counts = np.bincount(arm, weight, minlength=arms).astype(np.float64)
  empty = [names[j] if names else str(j) for j in np.flatnonzero(counts == 0)]
  if empty:
    raise ValueError(
      f"no randomised row of arm {', '.join(empty)}: its outcome cannot be "
      "estimated; collect rows of it or leave it out of the declared arms"
    )
  return counts / counts.sum()


def declared_propensity(values, arms: int) -> np.ndarray:
  """Checks arm shares that the user states.

  Args:
    values: `[M]` probabilities.
    arms: M.

  Returns:
    `[M]` float64.

  Raises:
    ValueError: wrong length (for instance one value a row), a share that is
      not inside (0, 1], or a sum that is not 1.
  """
  values = np.asarray(values, np.float64)
  if values.shape != (arms,):
    raise ValueError(
      f"declared propensities have shape {values.shape}; give one share per "
      f"arm, shape ({arms},), not one per row"
    )
  if not np.all((values > 0) & (values <= 1)):
    raise ValueError(
      f"declared propensities {values.tolist()} must each be above 0: an arm "
      "that is never drawn cannot be evaluated"
    )
  if abs(values.sum() - 1) > 1e-6:
    raise ValueError(
      f"declared propensities {values.tolist()} add up to {values.sum():.6g}, "
      "not 1"
    )
  return values
