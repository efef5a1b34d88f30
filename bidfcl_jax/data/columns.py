"""Published files of millions of rows: read once in pieces, then from a cache.

Text is met one piece at a time (stream.py), each piece is checked and goes
into compact arrays: float32 features, uint8 arms and outcomes. Peak memory is
that of the arrays and one piece. With a cache folder the arrays are kept as
two .npy files, which later readings map into memory; their name holds the
source's size and time of change, so another file is never mistaken for it.
"""

import hashlib
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bidfcl_jax.data.parsing import Table, warn_unless_digest
from bidfcl_jax.data.published import Limits, ranged
from bidfcl_jax.data.stream import stream_table
from bidfcl_jax.files import replacing

_FIRST_ROWS = 1 << 18


class Columns(NamedTuple):
  """A file's columns.

  Attributes:
    features: `[n, d]` float32, raw.
    codes: `[n, k]` uint8: arms and 0/1 outcomes.
  """

  features: np.ndarray
  codes: np.ndarray

  def join(self, other: "Columns") -> "Columns":
    """Returns the rows of both, these first."""
    return Columns(*(np.concatenate(p) for p in zip(self, other, strict=True)))


def read_columns(
  path: str | PathLike,
  features: Mapping[str, Limits],
  codes: Mapping[str, Limits],
  *,
  rows: int | None = None,
  cache: str | PathLike | None = None,
  check: Callable[[Table, np.ndarray], None] | None = None,
  digest: tuple[str, str] | None = None,
) -> Columns:
  """Reads the named columns of a CSV (plain or gzip) or Parquet file.

  Args:
    path: the file.
    features: d columns with their limits.
    codes: k columns of whole numbers from 0 to at most 255.
    rows: how many rows to read from the top; None for all.
    cache: folder for the arrays, made if need be; None keeps none.
    check: told each piece, with its codes `[m, k]`, and may refuse it; not
      asked again when the arrays come from the cache.
    digest: kind and hex digest of the publisher's file as it lies on the disk;
      another one logs a warning, once the file was read whole.

  Returns:
    Columns; read-only maps of the files where they come from the cache.

  Raises:
    ValueError: a missing column, or a cell outside its limits, with file,
      line and column; rows below 1.
  """
  if rows is not None and rows < 1:
    raise ValueError(f"rows={rows}: give at least 1, or None for all")
  names = _cache_names(path, (*features, *codes), rows, cache)
  if names and all(name.is_file() for name in names):
    return Columns(*(np.load(name, mmap_mode="r") for name in names))
  columns = _read(path, features, codes, rows, check)
  if digest is not None and rows is None:
    warn_unless_digest(path, *digest)
  for name, array in zip(names, columns, strict=False):
    with replacing(name) as temporary, open(temporary, "xb") as file:
      np.save(file, array)
  return columns


def _cache_names(path, columns, rows, cache) -> tuple[Path, ...]:
  if cache is None:
    return ()
  path = Path(path)
  state = path.stat()
  told = (path.name, state.st_size, state.st_mtime_ns, columns, rows)
  mark = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
  stem = path.name.split(".")[0]
  return tuple(
    Path(cache) / f"{stem}-{mark}.{kind}.npy" for kind in Columns._fields
  )


def _read(path, features, codes, rows, check) -> Columns:
  read = 0
  size = min(rows or _FIRST_ROWS, _FIRST_ROWS)
  arrays = Columns(
    np.empty((size, len(features)), np.float32),
    np.empty((size, len(codes)), np.uint8),
  )
  for table in stream_table(path, [*features, *codes]):
    if rows is not None and read + len(table) > rows:
      table = table.keep(np.arange(len(table)) < rows - read)
    end = read + len(table)
    if end > len(arrays.codes):
      _resize(arrays, max(end, len(arrays.codes) * 5 // 4))
    for array, limits in zip(arrays, (features, codes), strict=True):
      for place, name in enumerate(limits):
        array[read:end, place] = ranged(table, name, limits[name])
    if check is not None:
      check(table, arrays.codes[read:end])
    read = end
    if read == rows:
      break
  _resize(arrays, read)
  return arrays


def _resize(arrays: Columns, rows: int) -> None:
  # In place: joining pieces at the end would need all of them twice.
  for array in arrays:
    array.resize((rows, array.shape[1]), refcheck=False)
