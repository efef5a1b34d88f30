"""Files of the user: from bytes to a table of text, with line numbers.

The conveniences of a CSV library (guessed types, "NA", short rows filled up,
duplicate names made unique) are what turns a broken file into a wrong answer.
So every cell of a CSV file is read as text (cells.py converts it), each row
remembers its line, and what is not a clean table is refused with file and
line. The header is line 1. Parquet has types of its own and no lines: its
messages count rows, the first one being row 1.
"""

import csv
import difflib
import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
from absl import logging


@dataclass(frozen=True)
class Table:
  """Wanted columns of a file, and where each row stands in it.

  Attributes:
    path: the file's name, for messages.
    cells: one column a name; text from CSV, numbers or text from Parquet.
    lines: `[n]` int64, the line (or row) at which each row starts.
    unit: "line", or "row" for Parquet.
  """

  path: str
  cells: pl.DataFrame
  lines: np.ndarray
  unit: str = "line"

  def __len__(self) -> int:
    return len(self.lines)

  def keep(self, mask: np.ndarray) -> "Table":
    """Returns the rows where mask `[n]` holds, with their line numbers."""
    cells = self.cells.filter(pl.Series(mask))
    return Table(self.path, cells, self.lines[mask], self.unit)

  def refuse(self, bad: np.ndarray, column: str, reason: str) -> NoReturn:
    """Raises a ValueError for the first row where bad `[n]` holds.

    Args:
      bad: `[n]` bool.
      column: the column of the offending cell.
      reason: what is wrong and the way out; `{cell}` stands for the cell.

    Raises:
      ValueError: always.
    """
    row = int(np.argmax(bad))
    cell = self.cells[column][row]
    raise ValueError(
      f"{self.path}, {self.unit} {self.lines[row]}, column {column!r}: "
      + reason.replace("{cell}", repr(cell))
    )


def read_bytes(path: str | PathLike) -> bytes:
  """Returns a file's content, decompressed if it is gzip (all members).

  Raises:
    ValueError: a gzip file that is cut short or damaged, with its name.
  """
  content = Path(path).read_bytes()
  if not content.startswith(b"\x1f\x8b"):
    return content
  try:
    return gzip.decompress(content)
  except (EOFError, OSError, zlib.error) as error:
    raise damaged_gzip(path, error) from error


def damaged_gzip(path: str | PathLike, error: Exception) -> ValueError:
  """Returns the refusal of a gzip file that cannot be read to its end."""
  return ValueError(
    f"{path}: the gzip file is cut short or damaged ({error}); fetch or "
    "write it again"
  )


def warn_unless_sha256(
  path: str | PathLike, content: bytes, expected: str
) -> None:
  """Logs a warning where content is not the publisher's, byte for byte."""
  found = hashlib.sha256(content).hexdigest()
  if found != expected:
    _warn_of_digest(path, "sha256 of the uncompressed content", found, expected)


def file_digest(path: str | PathLike, kind: str = "sha256") -> str:
  """Returns the digest of a file as it lies on the disk, in hex.

  Args:
    path: the file.
    kind: a name that hashlib knows, such as "sha256" or "md5".
  """
  with open(path, "rb") as file:
    return hashlib.file_digest(file, kind).hexdigest()


def warn_unless_digest(path: str | PathLike, kind: str, expected: str) -> None:
  """Logs a warning where the file is not the publisher's, as it lies there."""
  found = file_digest(path, kind)
  if found != expected:
    _warn_of_digest(path, f"{kind} of the file", found, expected)


def _warn_of_digest(path, what: str, found: str, expected: str) -> None:
  logging.warning(
    "%s: %s is %s, not the published %s; results may differ from those of the "
    "original file",
    path,
    what,
    found,
    expected,
  )


def read_table(path: str | PathLike, columns: Sequence[str]) -> Table:
  """Reads the named columns of a CSV, gzipped CSV or Parquet file.

  The kind of a file is told by its first bytes, not by its name.

  Args:
    path: the file; CSV in UTF-8 with a header, cells parted by commas.
    columns: names of the columns that are wanted.

  Returns:
    A Table with these columns.

  Raises:
    ValueError: the file is empty, damaged or not a table; a name stands twice
      in the header or is not in it; a row is longer or shorter than the
      header. The message names file and line.
  """
  content = read_bytes(path)
  if content.startswith(b"PAR1"):
    return parse_parquet(path, io.BytesIO(content), columns)
  return parse_csv(path, content, columns)


def parse_csv(
  path: str | PathLike,
  content: bytes,
  columns: Sequence[str],
  *,
  lines_before: int = 0,
) -> Table:
  """Does the work of `read_table` on the text of a CSV file.

  Args:
    path: the file's name, for messages.
    content: its uncompressed bytes.
    columns: names of the columns that are wanted.
    lines_before: lines of the file between its header and the first row here,
      where content is the header and a later piece.
  """
  content = content.removeprefix(b"\xef\xbb\xbf")
  body = content.strip(b"\r\n")
  if not body:
    raise ValueError(f"{path}: the file is empty; give a header and rows")
  _check_utf8(path, content)
  first = 1 + lines_before + content[: content.index(body[:1])].count(b"\n")
  try:
    # The header is read as a row like any other, since the library would
    # rename a duplicate column.
    frame = pl.read_csv(body, has_header=False, infer_schema=False)
  except pl.exceptions.PolarsError as error:
    _check_widths(path, body, first)
    reason = str(error).splitlines()[0]
    raise ValueError(f"{path}: not a CSV table ({reason})") from error
  if frame.to_series(-1).has_nulls():
    # An empty last cell, or a row that is too short: the library fills it up.
    _check_widths(path, body, first)
  header = [(name or "").strip() for name in frame.row(0)]
  _check_header(path, header, columns)
  lines = _starting_lines(frame, body, first)[1:]
  frame.columns = header
  return Table(str(path), frame[1:].select(columns), lines)


def parse_parquet(
  path: str | PathLike,
  source: str | PathLike | io.BytesIO,
  columns: Sequence[str],
  *,
  start: int = 0,
  rows: int | None = None,
) -> Table:
  """Does the work of `read_table` on a Parquet file, or on a slice of it.

  Args:
    path: the file's name, for messages.
    source: the file, or its bytes.
    columns: names of the columns that are wanted.
    start: rows to pass over.
    rows: most rows to read; None for all.
  """
  path = str(path)
  try:
    header = list(pl.read_parquet_schema(source))
    _check_header(path, header, columns)
    wanted = pl.scan_parquet(source).select(columns).slice(start, rows)
    frame = wanted.collect()
  except (pl.exceptions.PolarsError, OSError) as error:
    reason = str(error).splitlines()[0]
    raise ValueError(f"{path}: not a Parquet file ({reason})") from error
  for name in columns:
    kind = frame.schema[name]
    if isinstance(kind, pl.Categorical | pl.Enum):
      frame = frame.with_columns(pl.col(name).cast(pl.String))
    elif not (kind.is_numeric() or kind in (pl.String, pl.Boolean, pl.Null)):
      raise ValueError(
        f"{path}, column {name!r}: {kind} is neither a number nor text; "
        "convert the column or leave it out"
      )
  lines = np.arange(len(frame)) + start + 1
  return Table(path, frame.select(columns), lines, "row")


def _check_utf8(path, content: bytes) -> None:
  try:
    content.decode()
  except UnicodeDecodeError as error:
    line = 1 + content.count(b"\n", 0, error.start)
    raise ValueError(
      f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; "
      "save the file as UTF-8"
    ) from error


def _check_header(path, header: list[str], columns: Sequence[str]) -> None:
  twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
  if twice:
    raise ValueError(
      f"{path}, line 1: column {twice[0]!r} stands {header.count(twice[0])} "
      "times in the header; rename or remove the copies"
    )
  for name in columns:
    if name not in header:
      near = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
      hint = f"; did you mean {near[0]!r}?" if near else ";"
      raise ValueError(
        f"{path} has no column {name!r}{hint} its columns are "
        f"{', '.join(header)} (parted by commas)"
      )


def _check_widths(path, body: bytes, first: int) -> None:
  """Refuses the first row whose number of cells is not the header's."""
  reader = csv.reader(io.StringIO(body.decode(), newline=""), strict=True)
  width, start = None, first
  try:
    for row in reader:
      width = width or len(row)
      # A blank line has no cells at all; its columns are refused as empty.
      if row and len(row) != width:
        raise ValueError(
          f"{path}, line {start}: {len(row)} cells where the header has "
          f"{width}; repair the row (a comma inside a cell needs quotes)"
        )
      start = first + reader.line_num
  except csv.Error as error:
    raise ValueError(
      f"{path}, line {start}: {error}; repair the quotes of this row"
    ) from error


def _starting_lines(frame: pl.DataFrame, body: bytes, first: int):
  """Returns the line at which each row (the header is row 0) starts."""
  lines = np.arange(first, first + len(frame), dtype=np.int64)
  if body.count(b"\n") + 1 > len(frame):
    inside = frame.select(
      pl.sum_horizontal(
        pl.all().str.count_matches("\n", literal=True).fill_null(0)
      )
    ).to_series()
    lines[1:] += np.cumsum(inside.to_numpy())[:-1].astype(np.int64)
  return lines
