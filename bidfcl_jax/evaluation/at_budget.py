"""From the two sides of a jump to a value at a budget that nobody can cheat.

The last part of Algorithm 6, shared by EOM (value estimated on randomised
rows) and the oracle EOM (value known):

1. the policies on both sides of the price bracket are mixed so that exactly
   the budget is spent (or the feasible side is taken: the algorithm's letter);
2. where no price meets the budget, as with useless predicted costs, the policy
   of the highest price is mixed with all-control: an over-spending policy is
   never credited with its full value;
3. where all-control over-spends too, the budget is infeasible.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.allocation import choose, require_finite
from bidfcl_jax.losses.value import safe_ratio
from bidfcl_jax.types import Array, Outcomes


class EomResult(NamedTuple):
  """Value of predictions at a budget; scalars, per capita, original units.

  Attributes:
    revenue: revenue credited; NaN where infeasible.
    cost: spend credited, at most the budget; where infeasible the spend of
      all-control.
    price: price of the feasible side (the highest one tried where none is).
    mix: share of the side that over-spends.
    not_binding: the price 0 meets the budget.
    mixed_with_control: no price meets the budget, so the policy of the
      highest price was mixed with all-control.
    infeasible: all-control over-spends too.
  """

  revenue: Any
  cost: Any
  price: Any
  mix: Any
  not_binding: Any
  mixed_with_control: Any
  infeasible: Any


class Side(NamedTuple):
  """Value of one policy; `mass` is the divisor behind the two means."""

  revenue: Any
  cost: Any
  mass: Any


def mixture(under: Side, over: Side, budget) -> tuple[Array, Array, Array]:
  """Mixes two policies so that the budget is spent.

  Args:
    under: a policy that spends at most the budget.
    over: a policy that spends more.
    budget: scalar per capita.

  Returns:
    (revenue, cost, mix), mix the share of `over`. For a self-normalised
    estimator the masses differ, and the estimate of the mixed policy is that
    of its pooled numerators and divisors.
  """
  room = jnp.maximum(under.mass * (budget - under.cost), 0)
  excess = jnp.maximum(over.mass * (over.cost - budget), 0)
  mix = safe_ratio(room, room + excess)
  low, high = (1 - mix) * under.mass, mix * over.mass
  revenue = safe_ratio(low * under.revenue + high * over.revenue, low + high)
  cost = safe_ratio(low * under.cost + high * over.cost, low + high)
  return revenue, cost, mix


def value_at_budget(
  outcomes: Outcomes,
  bracket: tuple[Array, Array],
  value: Callable[[Array], Side],
  budget: Array,
  *,
  exact: bool,
) -> EomResult:
  """Values predictions at a budget; pure jnp.

  Args:
    outcomes: predictions `[n, M]`, original units.
    bracket: (low, high) of `allocation.price_for_budget` for the same measure
      of spend: equal at 0 where the budget does not bind, equal above 0 where
      no price meets it.
    value: arms `[n]` -> Side, the measure of spend and revenue.
    budget: scalar per capita.
    exact: mix both sides of the jump to spend the budget; else the feasible
      side.

  Returns:
    EomResult in the precision of the arrays.
  """
  low, high = bracket
  top, below = value(choose(outcomes, high)), value(choose(outcomes, low))
  control = value(jnp.zeros(outcomes.revenue.shape[0], jnp.int32))
  # By the value and not by the bracket: at a price pinned to its last bit the
  # choice may round otherwise than the search did.
  short = top.cost > budget
  under = jax.tree.map(lambda c, t: jnp.where(short, c, t), control, top)
  over = jax.tree.map(lambda t, b: jnp.where(short, t, b), top, below)
  # A spend that equals the budget may be summed to one unit in the last places
  # above it; only a true excess makes a budget infeasible.
  rounding = 100 * jnp.finfo(top.cost.dtype).eps
  slack = rounding * (jnp.abs(budget) + jnp.abs(below.cost))
  unmet = (low == high) & (high > 0)
  infeasible = short & (control.cost > budget + slack)
  mixed = (short | ((low < high) & exact)) & ~infeasible
  revenue, cost, mix = mixture(under, over, budget)
  revenue = jnp.where(mixed, revenue, under.revenue)
  cost = jnp.where(mixed, cost, under.cost)
  return EomResult(
    revenue=jnp.where(infeasible, jnp.nan, revenue),
    # The minimum removes rounding only: a mixture spends the budget.
    cost=jnp.where(infeasible, cost, jnp.minimum(cost, budget)),
    price=high,
    mix=jnp.where(mixed, mix, 0),
    not_binding=high == 0,
    mixed_with_control=unmet & ~infeasible,
    infeasible=infeasible,
  )


def checked(name: str, outcomes: Outcomes, rows: int) -> Outcomes:
  """Returns outcomes as float64 NumPy after checking them.

  Args:
    name: what they are, for the message.
    outcomes: `[n, M]`.
    rows: n.

  Raises:
    ValueError: shapes that do not fit, fewer than 2 arms, or a cell that is
      not finite (its row and arm are named).
  """
  cells = {}
  for field in ("revenue", "cost"):
    values = np.asarray(getattr(outcomes, field), np.float64)
    if values.ndim != 2 or values.shape[0] != rows or values.shape[1] < 2:
      raise ValueError(
        f"{name} {field} has shape {values.shape}; it must be [n, M] with n = "
        f"{rows} individuals and at least 2 arms"
      )
    require_finite(f"{name} {field}", values)
    cells[field] = values
  if cells["revenue"].shape != cells["cost"].shape:
    raise ValueError(
      f"{name} revenue {cells['revenue'].shape} and cost "
      f"{cells['cost'].shape} must have one shape"
    )
  return Outcomes(**cells)


def checked_budget(budget) -> np.float64:
  """Returns the budget; raises ValueError unless it is one finite number."""
  number = np.asarray(budget, np.float64)
  if number.ndim or not np.isfinite(number):
    raise ValueError(f"budget is {budget}; give one finite amount per capita")
  return np.float64(number)


def on_host(result: EomResult) -> EomResult:
  """Returns the result as NumPy scalars."""
  return EomResult(*(leaf[()] for leaf in jax.device_get(result)))
