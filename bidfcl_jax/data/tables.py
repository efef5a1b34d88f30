"""The user's own table: one file with OBS and RCT rows becomes a Study.

What counts when statements meet, in this order:

1. What the call declares comes before what the file happens to hold: the arms
   and their order, known costs, propensities. A cell that contradicts it (an
   arm that is not declared, an unknown source word, a negative cost) is
   refused, with or without `drop_bad_rows`.
2. A cell that holds nothing usable (empty, not a number, not finite) is
   refused, the earliest line first; with `drop_bad_rows` its row is left out
   before anything else looks at it. Feature columns named in `one_hot` hold
   words, and those named in `impute` may be empty (encoding.py).
3. A group stays on one side: all its rows are OBS or all are RCT, and its RCT
   rows go to one of train, validation and test.
"""

from collections.abc import Sequence
from os import PathLike

import jax
import numpy as np
from absl import logging

from bidfcl_jax.data.assemble import Rows, assemble
from bidfcl_jax.data.cells import (
  choices,
  flawed,
  numbers,
  refuse_flaws,
  words,
)
from bidfcl_jax.data.declared import declared_arms, known_cost
from bidfcl_jax.data.encoding import cell_rules, declared_columns, learn_coding
from bidfcl_jax.data.parsing import Table, read_table
from bidfcl_jax.data.splits import split
from bidfcl_jax.types import Study

SOURCES = ("obs", "rct")


def load_table(
  path: str | PathLike,
  *,
  features: Sequence[str],
  arms: Sequence[str],
  arm_column: str,
  revenue_column: str,
  cost_column: str | None = None,
  arm_costs: Sequence[float] | None = None,
  source_column: str,
  group_column: str | None = None,
  id_column: str | None = None,
  key: jax.Array,
  valid: float = 0.2,
  test: float = 0.3,
  propensity=None,
  budget: float | None = None,
  allow_negative_cost: bool = False,
  drop_bad_rows: bool = False,
  one_hot: Sequence[str] = (),
  impute: Sequence[str] | str = (),
  impute_by: str = "mean",
) -> Study:
  """Reads a Study from one CSV, gzipped CSV or Parquet file.

  The RCT rows are split by group into train, validation and test. The file's
  top says what counts when statements meet.

  Args:
    path: the file, with a header; see `read_table`.
    features: numeric feature columns.
    arms: M labels in order, the control first. A cell matches by text or by
      value: "1.0" is "1", "1.5" is not.
    arm_column: the arm that a row received.
    revenue_column: observed revenue, original units.
    cost_column: observed cost, original units; or else arm_costs.
    arm_costs: `[M]` cost of each arm where it is known; every row then costs
      what its arm costs, and the Study says known_cost.
    source_column: "rct" or "obs" for each row, in any case of letters.
    group_column: household or the like, split and resampled as one.
    id_column: the individual; an id that stands twice is refused.
    key: of the split.
    valid: share of the RCT groups for validation.
    test: share of the RCT groups for the test; the rest is for training.
    propensity: `[M]` declared arm shares of the RCT; None counts them on its
      training rows.
    budget: per capita, original units; None takes the Study's default.
    allow_negative_cost: whether an observed or known cost may be negative.
    drop_bad_rows: leaves out rows with a cell that is empty, not a number or
      not finite, and logs the warning "N row(s) dropped".
    one_hot: feature columns of words; each becomes a 0/1 feature `name=level`
      for every level of the training rows (OBS and RCT-train). A level that
      only other rows have is 0 in all of them, with a warning.
    impute: feature columns whose empty cells are filled by what the training
      rows hold, or "all".
    impute_by: "mean" or "median" of numbers; words take the most frequent.

  Returns:
    A Study, features standardised on its training rows (see `assemble`); its
    `coding` makes the same features out of later rows.

  Raises:
    ValueError: a statement, a column, a row or a cell that cannot be used;
      the message names it and the way out.
  """
  arms = declared_arms(arms)
  known = _known_cost(arms, cost_column, arm_costs, allow_negative_cost)
  if not (valid > 0 and test > 0 and valid + test < 1):
    raise ValueError(
      f"valid={valid}, test={test}: both must be above 0 and leave a share "
      "for training"
    )
  money = [c for c in (revenue_column, cost_column) if c is not None]
  roles = [arm_column, source_column]
  roles += [c for c in (group_column, id_column) if c is not None]
  _check_features(features, [*money, *roles])

  declared = declared_columns(features, one_hot, impute)
  numeric, worded, optional = cell_rules(declared)
  rules = ([*numeric, *money], [*worded, *roles], optional)
  columns = dict.fromkeys([*features, *money, *roles])
  table = read_table(path, list(columns))
  if drop_bad_rows:
    table = _drop_flawed(table, *rules)
  if not len(table):
    raise ValueError(f"{path}: no row is left; give rows with usable cells")
  refuse_flaws(table, *rules)

  in_rct = choices(table, source_column, SOURCES, ignore_case=True) == 1
  arm = choices(table, arm_column, arms)
  _check_sources(table, in_rct, arm, arms)
  if id_column is not None:
    _refuse_repeats(table, id_column)
  group = None
  if group_column is not None:
    group = _group_codes(table, group_column, in_rct)
  if known is None:
    cost = numbers(table, cost_column)
    if not allow_negative_cost and (cost < 0).any():
      table.refuse(
        cost < 0,
        cost_column,
        "{cell} is a negative cost; repair it, or say allow_negative_cost=True",
      )
  else:
    cost = known[arm]
  trial = np.flatnonzero(in_rct)
  shares = {"train": 1 - valid - test, "valid": valid, "test": test}
  parts = split(
    np.arange(len(trial)) if group is None else group[trial], shares, key
  )
  parts = {name: trial[place] for name, place in parts.items()}
  training = ~in_rct
  training[parts["train"]] = True
  coding = learn_coding(table.keep(training), declared, impute_by=impute_by)
  rows = Rows(
    coding.apply(table),
    arm,
    numbers(table, revenue_column),
    cost,
    group,
  )
  study = assemble(
    obs=rows.take(~in_rct),
    rct_train=rows.take(parts["train"]),
    rct_valid=rows.take(parts["valid"]),
    rct_test=rows.take(parts["test"]),
    arm_names=arms,
    feature_names=coding.names,
    propensity=propensity,
    known_cost=known,
    budget=budget,
    allow_negative_cost=allow_negative_cost,
  )
  return study.replace(coding=coding)


def _known_cost(arms, cost_column, arm_costs, allow_negative):
  """Returns `[M]` float64 known costs, or None where a column has them."""
  if (cost_column is None) == (arm_costs is None):
    raise ValueError(
      "give exactly one of cost_column (observed costs) and arm_costs (the "
      f"known cost of each arm); got cost_column={cost_column!r}, "
      f"arm_costs={arm_costs!r}"
    )
  return (
    None
    if arm_costs is None
    else known_cost(arm_costs, arms, allow_negative=allow_negative)
  )


def _check_features(features: Sequence[str], others: Sequence[str]) -> None:
  if isinstance(features, str) or not features:
    raise ValueError(f"features={features!r}: give a list of column names")
  for place, name in enumerate(features):
    if name in features[:place]:
      raise ValueError(f"feature {name!r} is declared twice; name it once")
    if name in others:
      raise ValueError(
        f"column {name!r} is declared both as a feature and as an arm, "
        "outcome, source, group or id; learners must not see those"
      )


def _drop_flawed(table: Table, *rules: Sequence[str]) -> Table:
  bad = np.logical_or.reduce(list(flawed(table, *rules).values()))
  count = int(bad.sum())
  if count:
    logging.warning(
      "%s: %d row%s dropped, the first at %s %d",
      table.path,
      count,
      "" if count == 1 else "s",
      table.unit,
      table.lines[np.argmax(bad)],
    )
  return table.keep(~bad)


def _check_sources(table: Table, in_rct, arm, arms: Sequence[str]) -> None:
  """Refuses a file without OBS rows, or without RCT rows of some arm."""
  for name, present in (("OBS", ~in_rct), ("RCT", in_rct)):
    if not present.any():
      raise ValueError(
        f"{table.path} has no {name} row; a study needs both sources"
      )
  counts = np.bincount(arm[in_rct], minlength=len(arms))
  if (counts == 0).any():
    empty = int(np.argmax(counts == 0))
    seen = [label for label, n in zip(arms, counts, strict=True) if n]
    kind = "the control arm" if empty == 0 else "arm"
    raise ValueError(
      f"{table.path}: no RCT row of {kind} {arms[empty]!r}; the labels seen "
      f"are {', '.join(seen)}; add such rows or declare other arms"
    )


def _refuse_repeats(table: Table, column: str) -> None:
  repeated = ~words(table, column).is_first_distinct().to_numpy()
  if repeated.any():
    table.refuse(
      repeated,
      column,
      "the id {cell} stood in an earlier row; leave one of them out, or "
      "declare the column as group_column",
    )


def _group_codes(table: Table, column: str, in_rct: np.ndarray) -> np.ndarray:
  """Returns `[n]` int32 group codes; a group with both sources is refused."""
  names = words(table, column)
  codes = names.rank("dense").to_numpy().astype(np.int32) - 1
  share = np.bincount(codes, in_rct) / np.bincount(codes)
  mixed = ((share > 0) & (share < 1))[codes]
  if mixed.any():
    table.refuse(
      mixed,
      column,
      "group {cell} has OBS and RCT rows, so its logs could tell learners "
      "about its test rows; leave one kind out or give it another group",
    )
  return codes
