"""Feature cells that are words or empty, turned into numbers on request.

A table's features must be finite numbers unless the user says otherwise:
`one_hot` spreads a column of words over 0/1 columns, one for each level, and
`impute` fills empty cells. Levels and fill values are learnt from training
rows alone (OBS and RCT-train; field case 4) and kept in a plain record, so
that rows of a later day are coded as those of the fit were.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from absl import logging

from bidfcl_jax.data.cells import codes, numbers, refuse_flaws, words
from bidfcl_jax.data.parsing import Table

MAX_LEVELS = 256
STATISTICS = {"mean": np.mean, "median": np.median}


@dataclass(frozen=True)
class Column:
  """How one column of the table becomes features.

  Attributes:
    name: the column.
    levels: its words, each a 0/1 feature; None for a column of numbers.
    fill: what an empty cell counts as, a number or a level; None where an
      empty cell is refused.
  """

  name: str
  levels: tuple[str, ...] | None = None
  fill: float | str | None = None


@dataclass(frozen=True)
class FeatureCoding:
  """What was learnt of the feature columns; hashable, and plain as JSON.

  Attributes:
    columns: a Column for each feature column, in the declared order.
  """

  columns: tuple[Column, ...]

  @property
  def inputs(self) -> tuple[str, ...]:
    """The columns that a table must have."""
    return tuple(column.name for column in self.columns)

  @property
  def names(self) -> tuple[str, ...]:
    """The d features: a one-hot block `name=level` stands in its place."""
    return tuple(
      column.name if level is None else f"{column.name}={level}"
      for column in self.columns
      for level in (column.levels or (None,))
    )

  def check(self, table: Table) -> None:
    """Refuses the first row with a cell that cannot be coded.

    Raises:
      ValueError: an empty cell without a fill value, a cell that is not a
        finite number; the message has the file, the line and the column.
    """
    refuse_flaws(table, *cell_rules(self.columns))

  def apply(self, table: Table) -> np.ndarray:
    """Codes rows, of the fit or of a later day.

    A level that the training rows did not hold becomes 0 in all columns of
    its block (the learner knows nothing of it); a warning counts such rows.

    Args:
      table: rows with the columns `inputs` (see parsing.read_table).

    Returns:
      `[n, d]` float64 raw features, in the order of `names`.

    Raises:
      ValueError: see check.
    """
    self.check(table)
    features = np.empty((len(table), len(self.names)))
    start = 0
    for column in self.columns:
      block = _block(table, column)
      features[:, start : start + block.shape[1]] = block
      start += block.shape[1]
    return features

  def to_json(self) -> dict[str, Any]:
    """Returns the record as dicts, lists, strings and numbers."""
    return asdict(self)

  @classmethod
  def from_json(cls, record: dict[str, Any]) -> "FeatureCoding":
    """Reads what `to_json` gave, also after a way through a JSON file."""
    return cls(
      tuple(
        Column(
          name=column["name"],
          levels=None if column["levels"] is None else tuple(column["levels"]),
          fill=column["fill"],
        )
        for column in record["columns"]
      )
    )


def declared_columns(
  features: Sequence[str], one_hot: Sequence[str], impute: Sequence[str] | str
) -> tuple[Column, ...]:
  """Returns the columns with what is to be learnt left empty.

  Levels are `()` where they are to be learnt and the fill value is NaN.

  Args:
    features: the feature columns.
    one_hot: those that hold words.
    impute: those whose empty cells are to be filled, or "all".

  Raises:
    ValueError: a column that is no feature.
  """
  impute = features if impute == "all" else impute
  for option, names in (("one_hot", one_hot), ("impute", impute)):
    if isinstance(names, str):
      raise ValueError(f"{option}={names!r}: give a list of feature columns")
    for name in names:
      if name not in features:
        raise ValueError(
          f"{option} names {name!r}, which is no feature column; the features "
          f"are {', '.join(features)}"
        )
  return tuple(
    Column(
      name,
      levels=() if name in one_hot else None,
      fill=np.nan if name in impute else None,
    )
    for name in features
  )


def cell_rules(
  columns: Sequence[Column],
) -> tuple[list[str], list[str], list[str]]:
  """Returns the names that `flawed` asks for: numeric, worded, optional."""
  numeric = [c.name for c in columns if c.levels is None]
  worded = [c.name for c in columns if c.levels is not None]
  optional = [c.name for c in columns if c.fill is not None]
  return numeric, worded, optional


def learn_coding(
  table: Table, columns: Sequence[Column], *, impute_by: str = "mean"
) -> FeatureCoding:
  """Learns levels and fill values.

  Numbers are filled by their mean or median over the rows that have one, words
  by the most frequent level (the first of equals). Levels stand in the order of
  their value where they are numbers, then of their text.

  Args:
    table: the training rows, and no others.
    columns: from `declared_columns`.
    impute_by: "mean" or "median".

  Raises:
    ValueError: a column without a usable training cell, a column with over
      MAX_LEVELS levels, an unknown statistic, or a cell that is refused.
  """
  if impute_by not in STATISTICS:
    raise ValueError(
      f"impute_by={impute_by!r} is not one of {', '.join(STATISTICS)}"
    )
  refuse_flaws(table, *cell_rules(columns))
  return FeatureCoding(
    tuple(_learnt(table, column, STATISTICS[impute_by]) for column in columns)
  )


def _learnt(table: Table, column: Column, statistic) -> Column:
  if column.levels is None and column.fill is None:
    return column
  seen = words(table, column.name).drop_nulls()
  if not len(seen):
    raise ValueError(
      f"{table.path}, column {column.name!r}: every cell of the training rows "
      "is empty, so nothing can be learnt of it; leave the column out"
    )
  if column.levels is None:
    values = numbers(table, column.name)
    fill = float(statistic(values[np.isfinite(values)]))
    return Column(column.name, None, fill)
  levels = _levels(seen)
  if len(levels) > MAX_LEVELS:
    raise ValueError(
      f"{table.path}, column {column.name!r} has {len(levels)} levels in the "
      f"training rows, more than {MAX_LEVELS}; join rare ones, or leave the "
      "column out (is it an id?)"
    )
  if column.fill is None:
    return Column(column.name, levels)
  found = codes(table, column.name, levels)
  most = np.bincount(found[found >= 0], minlength=len(levels)).argmax()
  return Column(column.name, levels, levels[most])


def _levels(seen: pl.Series) -> tuple[str, ...]:
  """Returns distinct words in order; "1" and "1.0" are one level."""
  distinct = seen.unique().sort()
  values = distinct.cast(pl.Float64, strict=False)
  by_value, rest = {}, []
  for word, value in zip(distinct, values, strict=True):
    if value is not None and np.isfinite(value):
      by_value.setdefault(value, word)
    else:
      rest.append(word)
  return (*(by_value[value] for value in sorted(by_value)), *rest)


def _block(table: Table, column: Column) -> np.ndarray:
  """Returns the features `[n, 1 or levels]` of one column."""
  if column.levels is None:
    values = numbers(table, column.name)
    if column.fill is not None:
      values = np.where(np.isnan(values), column.fill, values)
    return values[:, None]
  found = codes(table, column.name, column.levels)
  empty = words(table, column.name).is_null().to_numpy()
  if column.fill is not None:
    found = np.where(empty, column.levels.index(column.fill), found)
  unseen = found < 0
  if unseen.any():
    row = int(np.argmax(unseen))
    logging.warning(
      "%s, column %r: %d row(s) have a level that no training row has, the "
      "first %r at %s %d; all of the column's features are 0 there",
      table.path,
      column.name,
      unseen.sum(),
      table.cells[column.name][row],
      table.unit,
      table.lines[row],
    )
  return (found[:, None] == np.arange(len(column.levels))).astype(np.float64)
