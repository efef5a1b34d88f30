"""What can be said of a study before anything is trained on it.

Does the experiment cover the population that the logs come from (lambda*
solved on RCT rows answers for the RCT's population: where that is only a part
of the customers, the budget of the wrong population is met)? Has every arm
rows in every part? Do rows or households of one part stand in another one,
so that the test is not a test? Randomisation is judged in balance.py, overlap
of the logs in overlap.py.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from bidfcl_jax.types import Samples, Study

NOTABLE = 0.25
TRAINING = ("obs", "rct_train", "rct_valid")


def covariate_shift(
  study: Study, threshold: float = NOTABLE
) -> list[tuple[str, float]]:
  """Compares the features' means of OBS and RCT-train rows.

  Args:
    study: features standardised, so that a difference is in (pooled) standard
      deviations.
    threshold: smaller differences are not worth a word.

  Returns:
    (feature name, OBS mean - RCT mean) where the size is above threshold, the
    largest first.
  """
  gap = np.mean(study.obs.features, axis=0, dtype=np.float64) - np.mean(
    study.rct_train.features, axis=0, dtype=np.float64
  )
  names = study.feature_names or [f"feature {k}" for k in range(len(gap))]
  order = np.argsort(-np.abs(gap), kind="stable")
  return [(names[k], float(gap[k])) for k in order if abs(gap[k]) > threshold]


def parts(study: Study) -> dict[str, Samples]:
  """Returns the parts of a study by name; rct_test only where there is one."""
  named = {name: getattr(study, name) for name in (*TRAINING, "rct_test")}
  return {name: rows for name, rows in named.items() if rows is not None}


def pooled_rct(study: Study) -> Samples:
  """Joins the randomised parts: NumPy rows whose households keep their number.

  Households are numbered across parts only where they were declared; the rows
  of a study without households get new numbers, one each.
  """
  randomised = [rows for name, rows in parts(study).items() if name != "obs"]
  joined = {
    name: np.concatenate(
      [np.asarray(getattr(rows, name)) for rows in randomised]
    )
    for name in ("features", "arm", "revenue", "cost", "weight")
  }
  group = None
  if has_households(study):
    group = np.concatenate([np.asarray(rows.group) for rows in randomised])
  return Samples(**joined, group=group)


def has_households(study: Study) -> bool:
  """Returns whether the rows' groups were declared (not just row numbers)."""
  return any(
    not np.array_equal(rows.group, np.arange(len(rows)))
    for rows in parts(study).values()
  )


class ArmCounts(NamedTuple):
  """Rows per part and arm.

  Attributes:
    parts: P names of parts.
    counts: `[P, M]` int64.
    shares: `[P, M]` float64, counts over the part's rows.
  """

  parts: tuple[str, ...]
  counts: np.ndarray
  shares: np.ndarray

  def empty(self) -> list[tuple[str, int]]:
    """Returns (part, arm) where there is no row."""
    return [(self.parts[k], int(j)) for k, j in np.argwhere(self.counts == 0)]


def arm_counts(study: Study) -> ArmCounts:
  """Counts the rows of each part and arm."""
  named = parts(study)
  counts = np.stack(
    [np.bincount(rows.arm, minlength=study.arms) for rows in named.values()]
  )
  rows = counts.sum(axis=1, keepdims=True)
  return ArmCounts(tuple(named), counts, counts / np.maximum(rows, 1))


class Repeats(NamedTuple):
  """Rows of one part that stand, equal in every cell, in another part.

  Two people may well be alike in all that was written down, so pairs of equal
  rows prove nothing alone. Were both parts independent draws, the chance that
  a row equals one of the other part would be at most the mean of the chances
  within the two parts (2 sum pq <= sum p^2 + sum q^2).

  Attributes:
    part: where the rows stand.
    other: where they stand as well.
    rows: rows of `part` that have a twin in `other`.
    pairs: pairs of equal rows, one of each part.
    expected: most pairs to expect by chance, from the pairs within each part.
  """

  part: str
  other: str
  rows: int
  pairs: int
  expected: float

  @property
  def excess(self) -> float:
    """Pairs beyond chance (with five standard errors of leeway), or 0."""
    limit = 1.25 * self.expected + 5 * np.sqrt(self.expected)
    return float(self.pairs - self.expected) if self.pairs > limit else 0.0


def _row_hashes(rows: Samples) -> tuple[np.ndarray, np.ndarray]:
  """Returns (hash, number of rows with it), sorted by hash."""
  features = np.asarray(rows.features)
  # Adding 0 turns -0 into 0.
  columns = {str(k): features[:, k] + 0.0 for k in range(features.shape[1])}
  for name in ("arm", "revenue", "cost"):
    columns[name] = np.asarray(getattr(rows, name)) + 0
  hashes = pl.DataFrame(columns).hash_rows(seed=0).to_numpy()
  return np.unique(hashes, return_counts=True)


def repeated_rows(study: Study) -> list[Repeats]:
  """Looks for rows (features, arm, revenue, cost) that stand in two parts.

  Rows are compared by a 64-bit hash: among ten million, a chance of 3e-6 that
  two unequal ones share it.

  Returns:
    Repeats of every pair of parts, the later part (test before all) first.
  """
  seen = {name: _row_hashes(rows) for name, rows in parts(study).items()}
  names = list(seen)[::-1]

  def within(name):
    counts = seen[name][1]
    total = counts.sum()
    return np.sum(counts * (counts - 1.0)) / max(total * (total - 1.0), 1.0)

  found = []
  for place, part in enumerate(names):
    for other in names[place + 1 :]:
      (hashes, counts), (others, other_counts) = seen[part], seen[other]
      _, here, there = np.intersect1d(
        hashes, others, assume_unique=True, return_indices=True
      )
      chance = (within(part) + within(other)) / 2
      found.append(
        Repeats(
          part,
          other,
          rows=int(counts[here].sum()),
          pairs=int(np.sum(counts[here] * other_counts[there])),
          expected=float(chance * counts.sum() * other_counts.sum()),
        )
      )
  return found


def shared_households(study: Study) -> dict[tuple[str, str], int]:
  """Counts households that have rows in two parts.

  Returns:
    (part, other part) -> number of households, where there is any; empty for
    a study without declared households.
  """
  if not has_households(study):
    return {}
  groups = {name: np.unique(rows.group) for name, rows in parts(study).items()}
  names = list(groups)
  shared = {
    (part, other): len(
      np.intersect1d(groups[part], groups[other], assume_unique=True)
    )
    for place, part in enumerate(names)
    for other in names[place + 1 :]
  }
  return {pair: number for pair, number in shared.items() if number}
