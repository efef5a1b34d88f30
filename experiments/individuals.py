"""The input of allocate: individuals read, checked, coded and predicted."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import polars as pl

from bidfcl_jax.allocation import forbid
from bidfcl_jax.data.cells import codes
from bidfcl_jax.data.parsing import Table
from bidfcl_jax.data.stream import ROWS, column_names, stream_table
from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.training import Served


class Request(NamedTuple):
  """What is asked for.

  Attributes:
    source: CSV, gzipped CSV or Parquet file of individuals.
    output: .csv, .csv.gz or .parquet file to write.
    budget: per capita, original units; or else total_budget.
    total_budget: of all individuals together.
    price_from: "rct" or "model".
    explore: share of individuals that get a uniform arm.
    eligible_columns: a bool column for each arm, in their order; () for none.
    id_column: copied to the output where it is given.
    rows: of a piece.
  """

  source: Path
  output: Path
  budget: float | None
  total_budget: float | None = None
  price_from: str = "rct"
  explore: float = 0.0
  eligible_columns: Sequence[str] = ()
  id_column: str | None = None
  rows: int = ROWS


class Draws:
  """Who explores, and which arm: by row, wherever the pieces are cut."""

  def __init__(self, key: jax.Array, share: float):
    self._who = host_generator(stream(key, "explorers"))
    self._which = host_generator(stream(key, "arms"))
    self._share = share

  def __call__(self, allowed: np.ndarray) -> np.ndarray:
    """Returns `[n]` the uniform eligible arm of explorers, -1 for others."""
    choices = allowed.sum(axis=1)
    who = self._who.random(len(allowed)) < self._share
    place = (self._which.random(len(allowed)) * choices).astype(np.int64)
    # argmax finds the first arm with place + 1 eligible arms up to it.
    arm = (allowed.cumsum(axis=1) == (place + 1)[:, None]).argmax(axis=1)
    return np.where(who, arm, -1)


def check(served: Served, request: Request) -> None:
  """Refuses a request that does not fit the model or itself."""
  if not 0 <= request.explore < 1:
    raise ValueError(f"--explore={request.explore} must lie in [0, 1)")
  asked = [b for b in (request.budget, request.total_budget) if b is not None]
  if len(asked) != 1 or not (np.isfinite(asked[0]) and asked[0] >= 0):
    raise ValueError(
      f"budget {request.budget}, total_budget {request.total_budget}: give "
      "one of them, a finite amount of 0 or more"
    )
  eligible = request.eligible_columns
  if eligible and len(eligible) != len(served.arm_names):
    raise ValueError(
      f"--eligible_columns={','.join(eligible)}: give one column for each of "
      f"the {len(served.arm_names)} arms {', '.join(served.arm_names)}"
    )


def tables(served: Served, request: Request) -> Iterator[Table]:
  """Reads the columns that are needed, a piece at a time."""
  columns = [*served.coding.inputs, *request.eligible_columns]
  if request.id_column is not None:
    columns.append(request.id_column)
  return stream_table(
    request.source, list(dict.fromkeys(columns)), rows=request.rows
  )


def predicted(
  served: Served,
  request: Request,
  table: Table,
  draws: Draws,
  kind: np.dtype,
) -> tuple[np.ndarray, int]:
  """Predicts for a piece and draws its explorers.

  Args:
    served: the model.
    request: what is asked for.
    table: the piece.
    draws: continues from the piece before.
    kind: fields revenue and cost `[M]`, given (the explorer's arm, else -1),
      choices (eligible arms) and control (whether it is one of them).

  Returns:
    (`[n]` of this kind, forbidden arms made worse than all others; how many
    predicted costs were below 0 and count as 0).

  Raises:
    ValueError: a cell, a prediction or an eligibility that cannot be used.
  """
  outcomes = served.predict(table)
  revenue, cost = outcomes.revenue, outcomes.cost
  bad = ~(np.isfinite(revenue) & np.isfinite(cost)).all(axis=1)
  if bad.any():
    table.refuse(
      bad,
      served.coding.inputs[0],
      "the prediction of this row is not finite; its features lie far outside "
      "those of the training rows",
    )
  negative = int(np.count_nonzero(cost < 0))
  cost = np.maximum(cost, 0)
  allowed = _allowed(table, request.eligible_columns, revenue.shape)
  if not allowed.all():
    revenue, cost = forbid(revenue, cost, allowed)
  cells = np.empty(len(table), kind)
  cells["revenue"], cells["cost"] = revenue, cost
  cells["given"], cells["choices"] = draws(allowed), allowed.sum(axis=1)
  cells["control"] = allowed[:, 0]
  return cells, negative


def _allowed(table: Table, columns: Sequence[str], shape) -> np.ndarray:
  """Reads eligibility `[n, M]` off the columns."""
  if not columns:
    return np.ones(shape, bool)
  marks = []
  for name in columns:
    word = codes(table, name, ("false", "true"), ignore_case=True)
    code = np.maximum(word, codes(table, name, ("0", "1")))
    if (code < 0).any():
      table.refuse(code < 0, name, "{cell} is not one of true, false, 1, 0")
    marks.append(code == 1)
  allowed = np.stack(marks, axis=1)
  barred = ~allowed.any(axis=1)
  if barred.any():
    table.refuse(
      barred, columns[0], "no arm is eligible; allow at least the control"
    )
  return allowed


def ids_of(request: Request) -> Iterator[dict[str, pl.Series]]:
  """Reads the id column again, in the pieces of `tables`; or nothing."""
  if request.id_column is None:
    return
  columns = [request.id_column]
  for table in stream_table(request.source, columns, rows=request.rows):
    yield {request.id_column: table.cells[request.id_column]}


def id_column_of(source: str, asked: str | None, stored: str | None):
  """Returns the id column to copy: the asked, or the run's if it is there."""
  if asked is not None:
    return asked
  return stored if stored in column_names(source) else None
