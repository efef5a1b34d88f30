"""The last step of every loader: raw parts in, a checked Study out.

All data sets, simulated or real, become a Study here, so that counts, arm
codes, standardisation and the default budget follow one rule.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bidfcl_jax.data import declared
from bidfcl_jax.data.scaling import fit_scalers, standardise
from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.types import Samples, Study, Truth

_INT32 = np.iinfo(np.int32)


class Rows(NamedTuple):
  """Raw rows of one part, before standardisation.

  Attributes:
    features: `[n, d]` float, raw.
    arm: `[n]` codes, 0 = control.
    revenue: `[n]`, original units.
    cost: `[n]`, original units.
    group: `[n]` household numbers or strings, or None.
  """

  features: np.ndarray
  arm: np.ndarray
  revenue: np.ndarray
  cost: np.ndarray
  group: np.ndarray | None = None

  def take(self, rows: np.ndarray) -> "Rows":
    """Returns the given rows (numbers or a mask)."""
    group = None if self.group is None else np.asarray(self.group)[rows]
    features, arm, revenue, cost = (np.asarray(v)[rows] for v in self[:4])
    return Rows(features, arm, revenue, cost, group)


def _checked_names(arm_names, feature_names) -> tuple[tuple, tuple]:
  arm_names, feature_names = tuple(arm_names), tuple(feature_names)
  for kind, names in (("arm", arm_names), ("feature", feature_names)):
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
      raise ValueError(f"{kind} names occur twice: {', '.join(twice)}")
  if len(arm_names) < 2:
    raise ValueError(
      f"arms {list(arm_names)}: declare at least two, the control first"
    )
  return arm_names, feature_names


def check_part(
  part: str,
  rows: Rows,
  arm_names: Sequence[str],
  feature_names: Sequence[str],
) -> None:
  """Checks raw rows against the declared names.

  Args:
    part: how messages call these rows.
    rows: raw rows.
    arm_names: M names.
    feature_names: d names.

  Raises:
    ValueError: no row, another number of columns than names, a feature that
      is not finite, or an arm code beyond the declared arms.
  """
  features = np.asarray(rows.features)
  if features.ndim != 2 or features.shape[1] != len(feature_names):
    raise ValueError(
      f"{part}: features have shape {features.shape}, but "
      f"{len(feature_names)} feature names are given"
    )
  if len(features) == 0:
    raise ValueError(f"{part} has no row")
  bad = ~np.isfinite(features)
  if bad.any():
    row, column = (int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
      f"{part}: feature {feature_names[column]!r} has the value "
      f"{features[row, column]} in row {row}; drop or repair such rows"
    )
  arm = np.asarray(rows.arm)
  if arm.size and arm.max() >= len(arm_names):
    raise ValueError(
      f"{part}: arm code {arm.max()}, but only {len(arm_names)} arms are "
      f"declared: {', '.join(arm_names)}"
    )


def _check_costs(parts: dict[str, Rows]) -> None:
  for part, rows in parts.items():
    negative = np.flatnonzero(np.less(np.ravel(rows.cost), 0))
    if len(negative):
      row = int(negative[0])
      raise ValueError(
        f"{part}: {len(negative)} row(s) have a negative cost, the first is "
        f"row {row} ({np.ravel(rows.cost)[row]}); repair them or pass "
        "allow_negative_cost=True"
      )


def _default_budget(cost, arm, known_cost, arm_names) -> float:
  """Returns the cost of giving everyone arm M // 2, per capita.

  With two arms that arm is the only offer and such a budget would bind nobody:
  half of it.
  """
  middle = len(arm_names) // 2
  share = 0.5 if len(arm_names) == 2 else 1.0
  if known_cost is not None:
    return share * known_cost[middle]
  cost = np.asarray(cost, np.float64).reshape(-1)
  return share * cost[arm == middle].mean()


def _number_groups(parts: dict[str, Rows]) -> dict[str, Rows]:
  """Numbers the groups of all parts together where int32 cannot hold them."""
  given = {
    part: np.asarray(rows.group)
    for part, rows in parts.items()
    if rows.group is not None
  }
  if all(
    np.issubdtype(g.dtype, np.integer)
    and g.min() >= _INT32.min
    and g.max() <= _INT32.max
    for g in given.values()
  ):
    return parts
  joined = np.concatenate([g.reshape(-1) for g in given.values()])
  number = np.unique(joined, return_inverse=True)[1]
  ends = np.cumsum([g.size for g in given.values()])[:-1]
  pieces = zip(given, np.split(number, ends), strict=True)
  return parts | {k: parts[k]._replace(group=g) for k, g in pieces}


def _samples(part: str, rows: Rows, scalers) -> Samples:
  features = standardise(scalers, rows.features)
  try:
    return Samples.create(
      features, rows.arm, rows.revenue, rows.cost, group=rows.group
    )
  except ValueError as error:
    raise ValueError(f"{part}: {error}") from error


def _arm_shares(samples: Samples, propensity, arm_names) -> np.ndarray:
  """Counts the arms of RCT-train, or checks what was declared."""
  if not np.any(samples.arm == 0):
    seen = [arm_names[j] for j in np.unique(samples.arm)]
    raise ValueError(
      f"rct_train has no row of the control arm {arm_names[0]!r}; it has "
      f"{', '.join(seen)}. Declare the arms control first, or check the file"
    )
  counted = counted_propensity(samples.arm, len(arm_names), names=arm_names)
  if propensity is None:
    return counted
  return declared_propensity(propensity, len(arm_names))


def _check_truth(truth: Truth | None, study: Study) -> None:
  if truth is None:
    return
  cells = {}
  if truth.outcomes is not None and study.rct_test is not None:
    want = (len(study.rct_test), study.arms)
    cells["truth.outcomes.revenue"] = (truth.outcomes.revenue, want)
    cells["truth.outcomes.cost"] = (truth.outcomes.cost, want)
  if truth.logging is not None:
    cells["truth.logging"] = (truth.logging, (len(study.obs), study.arms))
  for name, (values, want) in cells.items():
    if values.shape != want:
      raise ValueError(f"{name} has shape {values.shape}, not {want}")


def assemble(
  *,
  obs: Rows,
  rct_train: Rows,
  rct_valid: Rows,
  rct_test: Rows | None,
  arm_names: Sequence[str],
  feature_names: Sequence[str],
  propensity: ArrayLike | None = None,
  known_cost: ArrayLike | None = None,
  budget: float | None = None,
  truth: Truth | None = None,
  allow_negative_cost: bool = False,
) -> Study:
  """Checks, standardises and joins the parts of one problem.

  Args:
    obs: logged rows.
    rct_train: randomised rows to learn from; with obs they give the scalers.
    rct_valid: randomised rows for choices.
    rct_test: randomised rows for the final judgement, or None.
    arm_names: M names, control first.
    feature_names: d names.
    propensity: `[M]` declared arm shares; None counts them on rct_train.
    known_cost: `[M]` cost of each arm where it is known, original units.
    budget: default budget per capita; None takes the mean cost of arm M//2
      on rct_train (its known cost where known_cost is given), half of it where
      M is 2.
    truth: what is known about the world, kept as it is.
    allow_negative_cost: accept negative observed or known costs.

  Returns:
    Study of NumPy arrays: standardised float32 features, money in original
    units; scalers, propensity, budget and known_cost in float64.

  Raises:
    ValueError: a count that differs between parts, an empty part, a cell that
      is not finite, a negative cost, an arm without a row in rct_train, wrong
      shares or a budget that is none; the message names part and culprit.
  """
  arm_names, feature_names = _checked_names(arm_names, feature_names)
  parts = {"obs": obs, "rct_train": rct_train, "rct_valid": rct_valid}
  if rct_test is not None:
    parts["rct_test"] = rct_test
  for part, rows in parts.items():
    check_part(part, rows, arm_names, feature_names)
  if not allow_negative_cost:
    _check_costs(parts)
  scalers = fit_scalers(
    (obs.features, rct_train.features), rct_train.revenue, rct_train.cost
  )
  samples = {
    part: _samples(part, rows, scalers)
    for part, rows in _number_groups(parts).items()
  }
  train = samples["rct_train"]
  propensity = _arm_shares(train, propensity, arm_names)
  if known_cost is not None:
    known_cost = declared.known_cost(
      known_cost, arm_names, allow_negative=allow_negative_cost
    )
  if budget is None:
    budget = _default_budget(rct_train.cost, train.arm, known_cost, arm_names)
  elif not (np.isfinite(budget) and budget >= 0):
    raise ValueError(
      f"budget {budget}: give a finite amount of 0 or more per capita"
    )
  study = Study(
    obs=samples["obs"],
    rct_train=train,
    rct_valid=samples["rct_valid"],
    rct_test=samples.get("rct_test"),
    propensity=propensity,
    scalers=scalers,
    budget=np.asarray(budget, np.float64),
    known_cost=known_cost,
    truth=truth,
    arm_names=arm_names,
    feature_names=feature_names,
  )
  _check_truth(truth, study)
  return study
