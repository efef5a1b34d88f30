"""Standardisation: statistics of the training rows, float64, on the host.

Features lose their mean and are divided by their standard deviation over OBS
and RCT-train; revenue and cost are each divided by their standard deviation
over RCT-train (one number for all arms and no shift, so that a score
r - lambda c keeps its order; method.md).

A constant column carries no information but may still vary by rounding error,
so "standard deviation 0" is the wrong test and so is a fixed threshold (a
column of 0 and 1e-8 is real). A column counts as constant where its standard
deviation is within a few units of rounding of its largest value.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bidfcl_jax.types import Scalers

_CHUNK = 65_536
_ROUNDING = 16 * np.finfo(np.float64).eps


def _chunks(blocks: tuple) -> Iterator[np.ndarray]:
  # One layout and dtype for the sums: the memory order of the input must not
  # decide in which order they are rounded.
  for block in blocks:
    for start in range(0, len(block), _CHUNK):
      yield np.ascontiguousarray(block[start : start + _CHUNK], np.float64)


def _mean_and_scale(blocks: tuple) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and guarded standard deviation over the leading axis."""
  rows = sum(len(block) for block in blocks)
  if rows == 0:
    raise ValueError("no training row to take the mean and the scale from")
  # Sums of deviations from the first row make a constant column's mean exact.
  first = next(_chunks(blocks))[0]
  total, largest = np.zeros_like(first), np.zeros_like(first)
  for chunk in _chunks(blocks):
    total = total + (chunk - first).sum(axis=0)
    largest = np.maximum(largest, np.abs(chunk).max(axis=0))
  mean = first + total / rows
  spread = np.zeros_like(first)
  for chunk in _chunks(blocks):
    spread = np.maximum(spread, np.abs(chunk - mean).max(axis=0))
  # Squares of deviations such as 1e-200 would vanish: square the ratios.
  unit = np.where(spread > 0, spread, 1.0)
  squares = np.zeros_like(first)
  for chunk in _chunks(blocks):
    squares = squares + (((chunk - mean) / unit) ** 2).sum(axis=0)
  deviation = spread * np.sqrt(squares / rows)
  constant = deviation <= _ROUNDING * largest
  return mean, np.where(constant, 1.0, deviation)


def fit_scalers(
  features: ArrayLike | tuple[ArrayLike, ...],
  revenue: ArrayLike,
  cost: ArrayLike,
) -> Scalers:
  """Takes the statistics of the training rows.

  Args:
    features: `[n, d]` raw finite features of OBS and RCT-train together, or
      a tuple of such blocks (spares the copy that joins them).
    revenue: `[m]` of RCT-train, original units.
    cost: `[m]` of RCT-train, original units.

  Returns:
    Scalers, float64: population standard deviations; 1 where a column (or
    revenue, or cost) is constant up to rounding.

  Raises:
    ValueError: no training row, or features that are not two-dimensional.
  """
  given = features if isinstance(features, tuple) else (features,)
  blocks = tuple(np.asarray(block) for block in given)
  for block in blocks:
    if block.ndim != 2:
      raise ValueError(f"features have shape {block.shape}, not [n, d]")
  mean, scale = _mean_and_scale(blocks)
  money = []
  for values in (revenue, cost):
    column = np.asarray(values, np.float64).reshape(-1)
    money.append(_mean_and_scale((column,))[1])
  return Scalers(mean, scale, *money)


def standardise(scalers: Scalers, features: ArrayLike) -> np.ndarray:
  """Returns `[n, d]` float32 (x - mean) / scale, computed in float64.

  Args:
    scalers: from fit_scalers.
    features: `[n, d]` raw.

  Raises:
    ValueError: another number of columns than the scalers were fitted on.
  """
  features = np.asarray(features)
  mean = np.asarray(scalers.feature_mean, np.float64)
  if features.ndim != 2 or features.shape[1] != len(mean):
    raise ValueError(
      f"features have shape {features.shape}; the scalers were fitted on "
      f"{len(mean)} columns"
    )
  result = np.empty(features.shape, np.float32)
  # A value beyond float32 becomes inf, which Samples.create refuses by name.
  with np.errstate(over="ignore"):
    for start in range(0, len(features), _CHUNK):
      rows = slice(start, start + _CHUNK)
      chunk = np.asarray(features[rows], np.float64)
      result[rows] = (chunk - mean) / scalers.feature_scale
  return result
