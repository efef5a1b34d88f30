"""Cells of a table: converted to numbers or codes, or refused by name.

Whatever does not convert is refused with the file, the line, the column and
the cell (`Table.refuse` in parsing.py); nothing is guessed and nothing counts
as 0.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from bidfcl_jax.data.parsing import Table


def words(table: Table, column: str) -> pl.Series:
  """Returns a column as stripped text, `[n]`; null where a cell is empty."""
  cells = table.cells[column]
  if cells.dtype.is_float():
    cells = cells.fill_nan(None)
  cells = cells.cast(pl.String).str.strip_chars()
  return cells.replace("", None)


def numbers(table: Table, column: str) -> np.ndarray:
  """Returns a column as float64 `[n]`; NaN where a cell is not a number."""
  cells = table.cells[column]
  if cells.dtype == pl.String:
    cells = cells.str.strip_chars()
  cells = cells.cast(pl.Float64, strict=False)
  return cells.fill_null(np.nan).to_numpy()


def flawed(
  table: Table,
  numeric: Sequence[str],
  worded: Sequence[str] = (),
  optional: Sequence[str] = (),
) -> dict[str, np.ndarray]:
  """Marks the cells that hold nothing usable, `[n]` bool for each column.

  Args:
    table: the rows.
    numeric: columns whose cells must be finite numbers.
    worded: columns whose cells must not be empty.
    optional: those of both kinds in which an empty cell is no flaw.
  """
  marks = {name: ~np.isfinite(numbers(table, name)) for name in numeric}
  empty = {
    name: words(table, name).is_null().to_numpy()
    for name in (*worded, *optional)
  }
  marks |= {name: empty[name] for name in worded}
  return marks | {name: marks[name] & ~empty[name] for name in optional}


def refuse_flaws(
  table: Table,
  numeric: Sequence[str],
  worded: Sequence[str] = (),
  optional: Sequence[str] = (),
) -> None:
  """Refuses the first row with a flawed cell (see `flawed`).

  Raises:
    ValueError: the file, the line, the column and the cell.
  """
  marks = flawed(table, numeric, worded, optional)
  bad = np.logical_or.reduce(list(marks.values()))
  if not bad.any():
    return
  row = int(np.argmax(bad))
  column = next(name for name in marks if marks[name][row])
  if words(table, column)[row] is None:
    reason = "the cell is empty (load_table fills features named in impute)"
  elif np.isnan(numbers(table, column)[row]):
    reason = (
      "{cell} is not a number (load_table codes feature columns of words that "
      "are named in one_hot)"
    )
  else:
    reason = "{cell} is not finite"
  table.refuse(
    bad,
    column,
    f"{reason}; repair it or leave the row out (load_table does so with "
    "drop_bad_rows=True)",
  )


def codes(
  table: Table, column: str, labels: Sequence[str], *, ignore_case=False
) -> np.ndarray:
  """Codes the words of a column by their place in a list of labels.

  A cell matches a label by its text, or where both are numbers by their
  value: "1.0" is "1", while "1.5" is neither "1" nor "2".

  Args:
    table: the rows.
    column: the column.
    labels: the labels in order; code 0 is the first.
    ignore_case: whether "Yes" is "yes".

  Returns:
    `[n]` int32; -1 for a word that is no label and for an empty cell.
  """
  text, labels = words(table, column), pl.Series(labels, dtype=pl.String)
  if ignore_case:
    text, labels = text.str.to_lowercase(), labels.str.to_lowercase()
  by_word = {label: code for code, label in enumerate(labels)}
  by_number = {
    value: code
    for code, value in enumerate(labels.cast(pl.Float64, strict=False))
    if value is not None and np.isfinite(value)
  }
  seen = text.unique()
  values = seen.cast(pl.Float64, strict=False)
  found = {
    word: by_word.get(word, by_number.get(value, -1))
    for word, value in zip(seen, values, strict=True)
  }
  return text.replace_strict(found, return_dtype=pl.Int32).to_numpy()


def choices(
  table: Table, column: str, declared: Sequence[str], *, ignore_case=False
) -> np.ndarray:
  """Codes a column as `codes` does, and refuses what is not declared.

  Raises:
    ValueError: a word that is not declared, with line, column and list.
  """
  found = codes(table, column, declared, ignore_case=ignore_case)
  if (found < 0).any():
    table.refuse(
      found < 0,
      column,
      "{cell} is not one of the declared " + ", ".join(declared),
    )
  return found


def refuse_outside(
  table: Table, column: str, values: np.ndarray, low, high, *, whole=False
) -> None:
  """Refuses the first of values `[n]` outside [low, high], or not whole.

  Raises:
    ValueError: the file, the line, the column and the cell.
  """
  bad = (values < low) | (values > high)
  if whole:
    bad |= values != np.floor(values)
  if bad.any():
    kind = "whole numbers" if whole else "values"
    reason = f"{{cell}} is not among the {kind} from {low} to {high}"
    table.refuse(bad, column, f"{reason}; is this the right file?")
