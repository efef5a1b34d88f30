"""Random parts of a data set, whole groups at a time.

People of one household influence each other and were often randomised
together, so a household goes to one part as a whole (data.md, section 4).
"""

from collections.abc import Mapping

import jax
import numpy as np
from numpy.typing import ArrayLike

from bidfcl_jax import keys


def split(
  group: ArrayLike, shares: Mapping[str, float], key: jax.Array
) -> dict[str, np.ndarray]:
  """Splits rows by group into named parts.

  Args:
    group: `[n]` group of each row, numbers or strings; `arange(n)` where
      every row stands alone.
    shares: part name -> share of the groups, adding up to 1. Each part gets
      its share rounded to whole groups; the last takes what is left.
    key: the same key and the same set of groups give the same parts, in
      whatever order the rows stand.

  Returns:
    Part name -> row numbers, int64, increasing.

  Raises:
    ValueError: a share outside (0, 1], a sum that is not 1, or a part that
      would have no row.
  """
  wrong = {k: v for k, v in shares.items() if not 0 < v <= 1}
  if wrong:
    raise ValueError(f"shares of parts must lie in (0, 1], but got {wrong}")
  if abs(sum(shares.values()) - 1) > 1e-6:
    raise ValueError(
      f"shares of parts {dict(shares)} add up to "
      f"{sum(shares.values()):.6g}, not 1"
    )
  names, member = np.unique(np.asarray(group), return_inverse=True)
  order = keys.host_generator(key).permutation(len(names))
  counts = [round(share * len(names)) for share in shares.values()]
  counts[-1] = len(names) - sum(counts[:-1])
  for part, count in zip(shares, counts, strict=True):
    if count < 1:
      raise ValueError(
        f"part {part!r} (share {shares[part]:g}) would have no row: there are "
        f"only {len(names)} groups; give it a larger share or more data"
      )
  part_of_group = np.empty(len(names), np.int64)
  part_of_group[order] = np.repeat(np.arange(len(counts)), counts)
  part_of_row = part_of_group[member]
  return {
    part: np.flatnonzero(part_of_row == index)
    for index, part in enumerate(shares)
  }
