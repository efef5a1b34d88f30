"""One budget, one arm for each individual, verified in float64 on the host.

The multi-treatment budget allocation problem (MTBAP) by its Lagrangian, Alg. 2:

    max_z sum_ij z_ij r_ij   s.t.  sum_ij z_ij c_ij <= N b,  sum_j z_ij = 1

The spend is a step function of the price. Both sides of the jump at the budget
are returned, with the share of the dearer one that spends b exactly: that
mixture is the optimum of the linear relaxation, and the feasible side is
within max r / N of the optimum where no two individuals jump together.
"""

import jax
import numpy as np

from bidfcl_jax.allocation import host, search
from bidfcl_jax.allocation.choice import choose
from bidfcl_jax.allocation.price import COSTS, price_for_budget
from bidfcl_jax.losses.value import policy_value
from bidfcl_jax.types import Allocation, Array, Outcomes, Samples, Status

# Relative changes of the budget, tried in turn: a spend equal to the budget is
# within it although its sum may round up, and an overspend by rounding is not.
_ROUNDING = (1e-14, -1e-14, -1e-12, -1e-10)


def solve(
  outcomes: Outcomes,
  budget: Array,
  *,
  cost: str = "model",
  samples: Samples | None = None,
  propensity: Array | None = None,
  nuisance: Outcomes | None = None,
  allowed: Array | None = None,
) -> Allocation:
  """Allocates arms within a budget; on the host, in float64.

  The budget does not bind: price 0, both sides equal, status NOT_BINDING (also
  where it is met exactly at price 0). Even the cheapest arms overspend: these
  arms on both sides, a finite price, negative slack, status INFEASIBLE.

  Args:
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.
    budget: b, per capita, original units.
    cost: the spend that is held to the budget: "model" (predicted), or "ipw"
      or "dr" (estimated from randomised rows: price_for_budget).
    samples: the same n rows; "ipw" and "dr".
    propensity: `[M]` arm shares; "ipw" and "dr".
    nuisance: outcome model `[n, M]`; "dr".
    allowed: `[n, M]` bool; False forbids the arm to the individual.

  Returns:
    Allocation with NumPy leaves. Its money is the predicted one for "model"
    and the estimated one for "ipw" and "dr", where dual_bound and gap are inf:
    predictions bound no estimate. `cost` is at most b, as the float64 mean of
    the chosen arms' costs, unless INFEASIBLE.

  Raises:
    ValueError: a budget that is negative or not finite, cells that are not
      finite, shapes that disagree, or an individual without an allowed arm.
  """
  if cost not in COSTS:
    raise ValueError(f"cost {cost!r} is not one of {COSTS}")
  limit = host.budget_of(budget)
  revenue, costs, floored = host.checked(outcomes)
  if allowed is not None:
    revenue, costs = forbid(revenue, costs, allowed)
  if cost == "model":

    def money(arms):
      return host.mean_at(revenue, arms), host.mean_at(costs, arms)

    jump = _model_jump(revenue, costs, limit, money)
  else:

    def money(arms):
      return _estimate(
        arms, costs.shape[1], samples, propensity, cost, nuisance
      )

    shown = Outcomes(revenue, costs)
    jump = _estimated_jump(
      shown, limit, money, cost, samples, propensity, nuisance
    )
  price, arms, arms_over = jump
  gained, spent = money(arms)
  status = Status.OK if price > 0 else Status.NOT_BINDING
  if spent > limit:
    status = Status.INFEASIBLE
    arms = arms_over = _cheapest(revenue, costs)
    gained, spent = money(arms)
    # An estimate is not monotone: the cheapest arms may fit after all.
    status = Status.OK if spent <= limit else status
  gained_over, spent_over = money(arms_over)
  step = spent_over - spent
  mix = min(max((limit - spent) / step, 0.0), 1.0) if step > 0 else 0.0
  bound = np.inf
  if cost == "model":
    bound = price * limit + gained - price * spent
  return Allocation(
    price=np.float64(price),
    arms=arms,
    arms_over=arms_over,
    mix=np.float64(mix if status == Status.OK else 0.0),
    cost=np.float64(spent),
    revenue=np.float64(gained),
    cost_over=np.float64(spent_over),
    revenue_over=np.float64(gained_over),
    slack=np.float64(limit - spent),
    dual_bound=np.float64(bound),
    gap=np.float64(bound - gained),
    floored=floored,
    status=status,
  )


def _model_jump(revenue, costs, limit, money) -> search.Jump:
  for change in _ROUNDING:
    total = limit * len(costs) * (1 + change)
    jump = search.search(revenue, costs, total)
    if money(jump.arms)[1] <= limit:
      break
  return jump


def _estimated_jump(
  outcomes, limit, money, cost, samples, propensity, nuisance
) -> search.Jump:
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), outcomes)
    for change in _ROUNDING:
      ends = price_for_budget(
        wide,
        limit * (1 + change),
        cost=cost,
        samples=samples,
        propensity=propensity,
        nuisance=nuisance,
        halvings=63,
      )
      low, high = (float(end) for end in ends)
      arms = np.asarray(choose(wide, high))
      if money(arms)[1] <= limit:
        break
    return search.Jump(high, arms, np.asarray(choose(wide, low)))


def _estimate(arms, count, samples, propensity, estimator, nuisance):
  """Returns the estimated (revenue, cost) of an allocation, in float64."""
  with jax.enable_x64(True):
    policy = np.eye(count)[arms]
    samples, propensity, nuisance = jax.tree.map(
      _widened, (samples, propensity, nuisance)
    )
    values = policy_value(
      policy, samples, propensity, estimator=estimator, nuisance=nuisance
    )
    return tuple(float(y) for y in values)


def _widened(leaf):
  leaf = np.asarray(leaf)
  return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf


def _cheapest(revenue, costs) -> np.ndarray:
  """Returns each row's arm of lowest cost, the best of them if several."""
  arms = np.empty(len(costs), np.int32)
  for rows, gain, paid in host.blocks(revenue, costs):
    lowest = paid == paid.min(axis=0)
    arms[rows] = np.where(lowest, gain, -np.inf).argmax(axis=0)
  return arms


def forbid(
  revenue: np.ndarray, costs: np.ndarray, allowed: Array
) -> tuple[np.ndarray, np.ndarray]:
  """Makes each forbidden arm worse than its row's cheapest allowed one.

  Less revenue at a greater cost loses at every price, so that nothing after
  this needs to know of the mask, and all numbers stay finite.

  Args:
    revenue: `[n, M]`.
    costs: `[n, M]`, not negative.
    allowed: `[n, M]` bool.

  Returns:
    (revenue, costs), changed where an arm is forbidden.

  Raises:
    ValueError: a mask of another shape or kind, or a row without an arm.
  """
  allowed = np.asarray(allowed)
  if allowed.shape != costs.shape or allowed.dtype != bool:
    raise ValueError(
      f"allowed has shape {allowed.shape} and dtype {allowed.dtype}; outcomes "
      f"{costs.shape} need one bool a cell"
    )
  barred = np.flatnonzero(~allowed.any(axis=1))
  if len(barred):
    raise ValueError(
      f"row {barred[0]} has no allowed arm ({len(barred)} such row(s)); allow "
      "it at least the control"
    )
  cheapest = np.where(allowed, costs, np.inf).argmin(axis=1)
  gain = host.at(revenue, cheapest)[:, None]
  paid = host.at(costs, cheapest)[:, None]
  return (
    np.where(allowed, revenue, gain - 1 - np.abs(gain)),
    np.where(allowed, costs, 2 * paid + 1),
  )
