"""Published files: their fingerprint, their columns, their ranges.

A public data set has cells that it cannot have. A file with other ones is
another file (a sample under the real name, an older version), and is refused
before anything is learnt from it; a file that only differs in its bytes is
read, with a warning.
"""

from collections.abc import Collection, Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np

from bidfcl_jax.data.cells import numbers, refuse_flaws, refuse_outside
from bidfcl_jax.data.parsing import (
  Table,
  parse_csv,
  read_bytes,
  warn_unless_sha256,
)


class Limits(NamedTuple):
  """What the cells of a column can be: [low, high], perhaps whole numbers."""

  low: float
  high: float
  whole: bool = False


BINARY = Limits(0, 1, whole=True)
FINITE = Limits(-np.inf, np.inf)


def check_outcomes(outcomes: Collection[str], **given: str) -> None:
  """Checks the columns that are to be revenue and cost.

  Args:
    outcomes: the file's outcome columns.
    **given: "revenue" and "cost" with their columns.

  Raises:
    ValueError: a column that is no outcome.
  """
  for name, column in given.items():
    if column not in outcomes:
      raise ValueError(f"{name}={column!r} is not one of {', '.join(outcomes)}")


def published_table(
  path: str | PathLike,
  sha256: str,
  numeric: Sequence[str],
  worded: Sequence[str],
) -> Table:
  """Reads the wanted columns of a published CSV file, plain or gzip.

  Args:
    path: the file.
    sha256: of the publisher's uncompressed file; another one logs a warning.
    numeric: columns whose cells must be finite numbers.
    worded: columns whose cells must not be empty.

  Raises:
    ValueError: a column that is missing, a row or a cell that is refused.
  """
  content = read_bytes(path)
  warn_unless_sha256(path, content, sha256)
  table = parse_csv(path, content, [*numeric, *worded])
  refuse_flaws(table, numeric, worded)
  return table


def ranged(table: Table, name: str, limits: Limits) -> np.ndarray:
  """Returns a column as float64 `[n]`, all of it finite and within limits.

  Raises:
    ValueError: the first other cell, with file, line and column.
  """
  values = numbers(table, name)
  if not np.isfinite(values).all():
    refuse_flaws(table, [name])
  refuse_outside(
    table, name, values, limits.low, limits.high, whole=limits.whole
  )
  return values
