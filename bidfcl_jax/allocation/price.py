"""The price of one unit of cost that meets a budget (Algorithm 2), under jit.

Given a price lambda every individual takes the arm of best score
r_ij - lambda c_ij; ties go to the lowest cost, then to the lowest arm. The
search is for the lambda at which the spend per capita meets the budget b, the
spend being

  "model"  the predicted cost of the chosen arms: falls as lambda rises
  "ipw"    1[t_i = chosen] c_i / p_{t_i}, from randomised rows: noisy
  "dr"     the same, doubly robust with a given cost model

Choices where the paper is silent:
1. Predicted costs below 0 count as 0.
2. The first upper end is the greatest slope between two arms of one row, not
   the greatest r / c, which is infinite for a free arm.
3. Halving is done on the bits of the price, which order positive floats: a few
   nearly equal costs make the upper end astronomic, and halving its *value*
   would spend all steps on the way down. 32 steps pin a float32 price to its
   last bit, a float64 price to 3e-7.
4. A noisy spend can meet the budget many times: a grid of prices is scanned
   and the last crossing is taken, so that no greater scanned price overspends.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.allocation.choice import (
  best_arm,
  columns,
  greatest_price,
  greatest_slope,
)
from bidfcl_jax.losses import value
from bidfcl_jax.types import Array, Outcomes, Samples

COSTS = ("model", "ipw", "dr")
_GRID_POINTS = 64
_GRID_REACH = 1e6


def price_for_budget(
  outcomes: Outcomes,
  budget: Array,
  *,
  cost: str = "model",
  samples: Samples | None = None,
  propensity: Array | None = None,
  nuisance: Outcomes | None = None,
  bounds: tuple[Array, Array] | None = None,
  halvings: int = 32,
) -> tuple[jax.Array, jax.Array]:
  """Searches the price that meets a budget (Alg. 2); pure, jitted.

  One trace serves all budgets and bounds. The result is a constant for
  differentiation: a search compares, it has no derivative
  (`losses.marginal_price` gives the effect of a moving price).

  Args:
    outcomes: predictions `[n, M]`, original units.
    budget: scalar b, per capita, original units.
    cost: "model", "ipw" or "dr".
    samples: the same n rows as Samples. "ipw" and "dr" read arm, cost and
      weight; "model" reads the weight alone (None: all rows count).
    propensity: `[M]` arm shares; "ipw" and "dr".
    nuisance: outcome model `[n, M]`; "dr".
    bounds: (least, greatest) price to consider, scalars, the greatest may be
      infinite; None: all prices. Inside bounds "ipw" and "dr" are halved
      without the scan, so that any of several crossings may be met.
    halvings: steps of the search; static. Inside bounds (p / 4, 4 p) 16 give
      a bracket of 1e-4 relative.

  Returns:
    (low, high) scalars: `high` is the feasible side (spend <= b, as summed in
    the dtype of the outcomes), `low` the other side of the jump. Equal where
    there is no jump to enclose: at 0 if the budget does not bind, at the
    least bound if that already is feasible, at the upper end if even that
    overspends (the caller compares the spend there with b).

  Raises:
    ValueError: an unknown cost, a missing argument or shapes that disagree.
  """
  _check(outcomes, cost, samples, propensity, nuisance)
  logged = None
  if samples is not None:
    # The features stay behind: the search does not need them on the device.
    logged = (samples.arm, samples.cost, samples.weight)
  return _search(
    outcomes, budget, logged, propensity, nuisance, bounds, cost, halvings
  )


@functools.partial(jax.jit, static_argnames=("cost", "halvings"))
def _search(
  outcomes, budget, logged, propensity, nuisance, bounds, cost, halvings
):
  outcomes, logged, propensity, nuisance = jax.lax.stop_gradient(
    (outcomes, logged, propensity, nuisance)
  )
  revenue, costs = columns(outcomes)
  dtype = revenue[0].dtype
  budget = jnp.asarray(budget, dtype)
  share, counted = 1 / revenue[0].size, True
  if logged is not None:
    weight = jnp.asarray(logged[2], dtype)
    share, counted = value.safe_ratio(weight, jnp.sum(weight)), weight > 0
  cells = _cells(costs, share, logged, propensity, nuisance, cost)

  def overspends(price):
    return jnp.sum(best_arm(revenue, costs, price, cells)[0]) > budget

  if bounds is not None:
    # An infinite price has no score at a free arm: infinity times 0.
    top = greatest_price(dtype)
    least, greatest = (
      jnp.minimum(jnp.asarray(end, dtype), top) for end in bounds
    )
    ends = _enclose(overspends, least, greatest)
  elif cost == "model":
    # Twice the bound: at the bound itself rounding decides the tie.
    top = 2 * greatest_slope(revenue, costs, counted)
    ends = _enclose(overspends, jnp.zeros((), dtype), top)
  else:
    ends = _last_crossing(overspends, _grid(revenue, costs, share))
  return _halve(overspends, ends, halvings)


def _check(outcomes, cost, samples, propensity, nuisance):
  if cost not in COSTS:
    raise ValueError(f"cost {cost!r} is not one of {COSTS}")
  shape = jnp.shape(outcomes.revenue)
  if len(shape) != 2 or jnp.shape(outcomes.cost) != shape:
    raise ValueError(
      f"predicted revenue has shape {shape} and cost "
      f"{jnp.shape(outcomes.cost)}; both must be [n, M]"
    )
  if samples is not None and jnp.shape(samples.arm) != shape[:1]:
    raise ValueError(
      f"outcomes have shape {shape} but samples {jnp.shape(samples.arm)}; "
      "they must describe the same rows"
    )
  if cost == "model":
    return
  if samples is None or propensity is None:
    raise ValueError(f"cost {cost!r} needs samples and their propensity")
  if jnp.shape(propensity) != shape[1:]:
    raise ValueError(
      f"propensity has shape {jnp.shape(propensity)}; outcomes {shape} need "
      f"one share an arm, {shape[1:]}"
    )
  if cost == "dr":
    if nuisance is None:
      raise ValueError("cost 'dr' needs a nuisance: Outcomes of the rows")
    if jnp.shape(nuisance.cost) != shape:
      raise ValueError(
        f"nuisance has shape {jnp.shape(nuisance.cost)}, outcomes {shape}"
      )


def _cells(costs, share, logged, propensity, nuisance, cost):
  """Returns M columns `[n]`: what a row adds to the spend under each arm."""
  if cost == "model":
    return [share * column for column in costs]
  dtype = costs[0].dtype
  arm = jnp.asarray(logged[0])
  observed, weight = (jnp.asarray(column, dtype) for column in logged[1:])
  rows = Samples(None, arm, observed, observed, weight)
  inverse = value.inverse_weight(rows, jnp.asarray(propensity, dtype))
  modelled = [0.0] * len(costs)
  if cost == "dr":
    modelled = list(jnp.asarray(nuisance.cost, dtype).T)
  return [
    share * model + jnp.where(arm == j, inverse * (observed - model), 0)
    for j, model in enumerate(modelled)
  ]


def _grid(revenue, costs, share):
  """Returns 0 and 64 geometric prices around the mean ratio of effects."""
  gain = sum(jnp.sum(share * jnp.abs(r - revenue[0])) for r in revenue)
  step = sum(jnp.sum(share * jnp.abs(c - costs[0])) for c in costs)
  ratio = value.safe_ratio(gain, step)
  reference = jnp.where(ratio > 0, ratio, 1)
  steps = np.geomspace(1 / _GRID_REACH, _GRID_REACH, _GRID_POINTS)
  return reference * jnp.asarray(np.append(0, steps), reference.dtype)


def _last_crossing(overspends, grid):
  over = jax.lax.map(overspends, grid)
  points = np.arange(len(grid))
  last = jnp.max(jnp.where(over, points, -1))
  return grid[jnp.maximum(last, 0)], grid[jnp.minimum(last + 1, points[-1])]


def _enclose(overspends, least, greatest):
  """Returns both ends, or one of them twice where they hold no jump."""
  least_over, greatest_over = overspends(least), overspends(greatest)
  low = jnp.where(greatest_over, greatest, least)
  return low, jnp.where(greatest_over | least_over, greatest, least)


def _halve(overspends, ends, halvings):
  """Halves between the bit patterns of the two prices."""
  dtype = ends[0].dtype
  whole = jnp.int32 if dtype.itemsize == 4 else jnp.int64
  price = functools.partial(jax.lax.bitcast_convert_type, new_dtype=dtype)

  def step(_, ends):
    low, high = ends
    middle = low + (high - low) // 2
    over = overspends(price(middle))
    return jnp.where(over, middle, low), jnp.where(over, high, middle)

  bits = tuple(jax.lax.bitcast_convert_type(end, whole) for end in ends)
  low, high = jax.lax.fori_loop(0, halvings, step, bits)
  return price(low), price(high)
