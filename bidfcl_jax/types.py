"""The records that travel between the rooms of the package.

Shapes are written `[n, d]`: n individuals, d features, M arms; arm 0 is the
control. Money is per capita and in original units unless a name says
otherwise. All records are pytrees, so they pass through jit, vmap and scan;
names (of arms, of features) are static fields.
"""

import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = jax.Array | np.ndarray


class Status(enum.IntEnum):
  """How a budget met its problem: see `Allocation.status`."""

  OK = 0
  NOT_BINDING = 1
  INFEASIBLE = 2


def _column(name: str, values: Any, rows: int) -> np.ndarray:
  """Returns values as a vector, squeezing (n, 1) and refusing the rest."""
  values = np.asarray(values)
  if values.ndim == 2 and values.shape[1] == 1:
    values = values[:, 0]
  if values.ndim != 1:
    raise ValueError(
      f"{name} has shape {values.shape}; give one value a row, shape ({rows},)"
    )
  if len(values) != rows:
    raise ValueError(
      f"features have {rows} rows but {name} has {len(values)}; they must "
      "describe the same individuals"
    )
  return values


def _finite(name: str, values: np.ndarray) -> np.ndarray:
  bad = ~np.isfinite(values)
  if bad.any():
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
      f"{name} has {int(bad.sum())} cell(s) that are not finite, the first at "
      f"index {where} ({values[where]}); drop or repair these rows"
    )
  return values


@struct.dataclass
class Samples:
  """Logged individuals: who, which arm, and what followed.

  Attributes:
    features: `[n, d]` float32, standardised.
    arm: `[n]` int32, the arm received, 0 = control.
    revenue: `[n]` observed revenue, original units.
    cost: `[n]` observed cost, original units.
    weight: `[n]` 1 for a row, 0 for padding; ones when left out.
    group: `[n]` int32, the household (rows of one group are resampled
      together); the row itself when left out.
  """

  features: Array
  arm: Array
  revenue: Array
  cost: Array
  weight: Array | None = None
  group: Array | None = None

  def __post_init__(self):
    # Pytree transformations rebuild records with arbitrary leaves, so the
    # defaults are filled in only where revenue really is an array.
    if not hasattr(self.revenue, "shape"):
      return
    xp = jnp if isinstance(self.revenue, jax.Array) else np
    if self.weight is None:
      object.__setattr__(self, "weight", xp.ones_like(self.revenue))
    if self.group is None:
      rows = xp.arange(self.revenue.shape[-1], dtype=np.int32)
      group = xp.broadcast_to(rows, self.revenue.shape)
      object.__setattr__(self, "group", group)

  def __len__(self) -> int:
    return self.revenue.shape[-1]

  @classmethod
  def create(
    cls, features, arm, revenue, cost, *, weight=None, group=None
  ) -> "Samples":
    """Checks and casts host data: the door through which rows enter.

    Args:
      features: `[n, d]`; any float dtype or memory layout.
      arm: `[n]` whole numbers, 0 = control.
      revenue: `[n]` or `[n, 1]`, original units.
      cost: `[n]` or `[n, 1]`, original units.
      weight: `[n]` or None.
      group: `[n]` whole numbers or None.

    Returns:
      Samples of contiguous NumPy arrays (float32, or float64 where JAX's
      64-bit mode is on).

    Raises:
      ValueError: a shape, a row count, an arm code or a cell that is not
        finite; the message names it.
    """
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    features = np.ascontiguousarray(features, dtype=dtype)
    if features.ndim != 2:
      raise ValueError(f"features have shape {features.shape}, not [n, d]")
    rows = len(features)
    _finite("features", features)
    arm = _column("arm", arm, rows)
    if not np.all(np.equal(np.mod(arm, 1), 0)) or np.any(np.less(arm, 0)):
      raise ValueError("arm codes must be whole numbers from 0 (the control)")
    money = {}
    for name, values in (("revenue", revenue), ("cost", cost)):
      column = _column(name, values, rows)
      money[name] = np.ascontiguousarray(_finite(name, column), dtype=dtype)
    if weight is not None:
      weight = _finite("weight", _column("weight", weight, rows))
      weight = np.ascontiguousarray(weight, dtype=dtype)
    if group is not None:
      group = np.ascontiguousarray(_column("group", group, rows), np.int32)
    arm = np.ascontiguousarray(arm, dtype=np.int32)
    return cls(features, arm, **money, weight=weight, group=group)


@struct.dataclass
class Outcomes:
  """Revenue and cost of every arm, `[n, M]` each: predicted, or the truth."""

  revenue: Array
  cost: Array

  def score(self, price) -> Array:
    """Returns revenue - price * cost, `[n, M]`, original units."""
    return self.revenue - price * self.cost


@struct.dataclass
class Scalers:
  """Statistics of the training rows, float64 (data/scaling.py).

  Attributes:
    feature_mean: `[d]`.
    feature_scale: `[d]`, 1 for a constant column.
    revenue: scalar, standard deviation of revenue on RCT-train, all arms.
    cost: scalar, the same of cost.
  """

  feature_mean: Array
  feature_scale: Array
  revenue: Array
  cost: Array


@struct.dataclass
class Truth:
  """What only oracles and tests may read.

  Attributes:
    outcomes: expected Outcomes `[n_test, M]` of the test individuals, or None.
    logging: `[n_obs, M]` propensities of the policy that logged OBS, or None.
  """

  outcomes: Outcomes | None = None
  logging: Array | None = None


@struct.dataclass
class Study:
  """One problem: biased logs, a small experiment, and what is known of them.

  Attributes:
    obs: Samples logged by a past policy.
    rct_train: randomised Samples that methods learn from.
    rct_valid: randomised Samples for choices (checkpoints, weights).
    rct_test: randomised Samples for the final judgement; None for learners.
    propensity: `[M]` arm shares of the RCT, counted on rct_train or declared.
    scalers: Scalers; `features` of all parts are already standardised by them.
    budget: scalar, the study's default budget per capita, original units.
    known_cost: `[M]` cost of each arm where it is known, else None.
    truth: Truth, or None; None for learners.
    arm_names: M names, control first.
    feature_names: d names.
    coding: how columns of the user's table became features (an
      encoding.FeatureCoding, for the rows of a later day); None for the data
      sets that have a reader of their own.
  """

  obs: Samples
  rct_train: Samples
  rct_valid: Samples
  rct_test: Samples | None
  propensity: Array
  scalers: Scalers
  budget: Array
  known_cost: Array | None = None
  truth: Truth | None = None
  arm_names: tuple[str, ...] = struct.field(pytree_node=False, default=())
  feature_names: tuple[str, ...] = struct.field(pytree_node=False, default=())
  coding: Any = struct.field(pytree_node=False, default=None)

  @property
  def arms(self) -> int:
    """M, the number of arms."""
    return self.propensity.shape[-1]

  def for_learners(self, *, logging: bool = False) -> "Study":
    """Returns the study without its test part and without the truth.

    Args:
      logging: keep the known logging propensities of OBS (oracle IPS only).
    """
    truth = None
    if logging and self.truth is not None:
      truth = Truth(logging=self.truth.logging)
    return self.replace(rct_test=None, truth=truth)


@struct.dataclass
class Allocation:
  """One arm per individual, and the other side of the jump at the budget.

  Per-capita money, original units. The spend of a price is a step function:
  `arms` stays within the budget, `arms_over` is the next allocation above it,
  and a share `mix` of `arms_over` spends the budget exactly.

  Attributes:
    price: scalar, the price of one unit of cost.
    arms: `[n]` int32, the feasible side.
    arms_over: `[n]` int32, the other side of the jump.
    mix: scalar in [0, 1], the share of arms_over that spends b exactly.
    cost: scalar, spend of `arms`.
    revenue: scalar, revenue of `arms`.
    cost_over: scalar, spend of `arms_over`.
    revenue_over: scalar, revenue of `arms_over`.
    slack: scalar, budget - cost.
    dual_bound: scalar, Lagrangian upper bound on the revenue of any feasible
      allocation.
    gap: scalar, dual_bound - revenue.
    floored: int, negative predicted costs that were set to 0.
    status: Status.
  """

  price: Array
  arms: Array
  arms_over: Array
  mix: Array
  cost: Array
  revenue: Array
  cost_over: Array
  revenue_over: Array
  slack: Array
  dual_bound: Array
  gap: Array
  floored: Array
  status: Array

  @property
  def expected_cost(self) -> Array:
    """Spend of the mixture of both sides."""
    return self.cost + self.mix * (self.cost_over - self.cost)

  @property
  def expected_revenue(self) -> Array:
    """Revenue of the mixture of both sides."""
    return self.revenue + self.mix * (self.revenue_over - self.revenue)


@struct.dataclass
class Curve:
  """Points of a cost curve, `[k]` each, cost increasing; per capita."""

  cost: Array
  revenue: Array
  price: Array


@struct.dataclass
class Interval:
  """An estimate with its bootstrap interval; scalars."""

  estimate: Array
  low: Array
  high: Array
  se: Array


@struct.dataclass
class LinearInfo:
  """What a linear solve (H + damping I) v = g reports; scalars but solution.

  Attributes:
    solution: v, a pytree like theta; 0 where the solve was not finite.
    residual: |(H + damping I) v - g| / |g|, 0 where g is 0, inf where the solve
      was not finite.
    iterations: steps taken (maxiter where the solver does not tell).
    converged: residual <= 0.1.
    negative_curvature: a direction p with p'Hp <= 1e-6 |p||Hp| was met.
    finite: v and the resulting gradient are finite.
    accepted: finite and residual <= max_residual; where False the caller
      keeps phi and its optimiser state.
  """

  solution: Any
  residual: Array
  iterations: Array
  converged: Array
  negative_curvature: Array
  finite: Array
  accepted: Array
