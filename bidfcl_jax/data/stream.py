"""Tables larger than memory: the same cells and checks, a piece at a time.

A CSV file (gzipped or not) is cut at line ends outside quotes, and each piece
is parsed behind the file's header by the reader of whole tables, so that both
refuse the same cells with the same line numbers. Parquet is read by slices.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from os import PathLike

import polars as pl

from bidfcl_jax.data import parsing
from bidfcl_jax.data.parsing import Table

ROWS = 131_072
_PIECE = 1 << 25


def stream_table(
  path: str | PathLike,
  columns: Sequence[str],
  *,
  rows: int = ROWS,
  piece: int = _PIECE,
) -> Iterator[Table]:
  """Yields the named columns of a CSV, gzipped CSV or Parquet file.

  Args:
    path: the file; see `read_table`.
    columns: names of the columns that are wanted.
    rows: most rows of a Table.
    piece: bytes of CSV text in memory at a time, about.

  Yields:
    Tables of 1 to `rows` rows, in order; `lines` are those of the file.

  Raises:
    ValueError: as `read_table`, when the piece at fault is reached; a file
      without a row.
  """
  with open(path, "rb") as file:
    magic = file.read(4)
  if magic == b"PAR1":
    tables = _parquet(path, columns, rows)
  else:
    tables = _csv(path, columns, magic.startswith(b"\x1f\x8b"), piece)
  empty = True
  for table in tables:
    for start in range(0, len(table), rows):
      empty = False
      at = slice(start, start + rows)
      yield Table(table.path, table.cells[at], table.lines[at], table.unit)
  if empty:
    raise ValueError(f"{path} has no row; give a header and rows")


def column_names(path: str | PathLike) -> list[str]:
  """Returns the names of a table's columns, of its first bytes alone."""
  with open(path, "rb") as file:
    magic = file.read(4)
  if magic == b"PAR1":
    return list(pl.read_parquet_schema(path))
  with _opened(path, magic.startswith(b"\x1f\x8b")) as file:
    header = _header(file)
  if not header.strip():
    raise ValueError(f"{path}: the file is empty; give a header and rows")
  frame = pl.read_csv(
    header.removeprefix(b"\xef\xbb\xbf"), has_header=False, infer_schema=False
  )
  return [(name or "").strip() for name in frame.row(0)]


def _opened(path, zipped: bool):
  return gzip.open(path) if zipped else open(path, "rb")


def _header(file) -> bytes:
  """Reads the header: one line, or several where a name holds a line end."""
  header = b""
  while True:
    line = file.readline()
    header += line
    if not line or (header.strip() and header.count(b'"') % 2 == 0):
      return header


def _whole_lines(text: bytes) -> int:
  """Returns where the last line that is not inside quotes ends; 0 if none."""
  end = text.rfind(b"\n")
  quotes = text.count(b'"', 0, end + 1)
  # A doubled quote inside a cell counts twice, so parity tells in from out.
  while end >= 0 and quotes % 2:
    before = text.rfind(b"\n", 0, end)
    quotes -= text.count(b'"', before + 1, end + 1)
    end = before
  return end + 1


def _csv(path, columns, zipped: bool, piece: int) -> Iterator[Table]:
  with _opened(path, zipped) as file:
    try:
      header = _header(file)
      before, rest, text = 0, b"", b"more"
      while text:
        text = file.read(piece)
        rest += text
        end = _whole_lines(rest) if text else len(rest)
        # Blank lines wait for what follows: at the end of a file they mean
        # nothing, between rows they are flawed rows.
        filled = len(rest[:end].rstrip(b"\r\n"))
        if text and filled:
          end = rest.index(b"\n", filled) + 1
        elif text:
          continue
        body, rest = rest[:end], rest[end:]
        if filled or not before:
          content = header + body
          yield parsing.parse_csv(path, content, columns, lines_before=before)
        before += body.count(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise parsing.damaged_gzip(path, error) from error


def _parquet(path, columns, rows: int) -> Iterator[Table]:
  start = 0
  while True:
    table = parsing.parse_parquet(path, path, columns, start=start, rows=rows)
    yield table
    start += len(table)
    if len(table) < rows:
      return
