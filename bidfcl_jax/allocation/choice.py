"""The arm of best score at a price: z(lambda) of Algorithm 2.

The one tie rule of the room: the search under jit and the accounts in float64
both choose by it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.types import Array, Outcomes


def greatest_price(dtype) -> float:
  """Returns the greatest price of a search: finite, and so are its doubles."""
  return float(np.finfo(dtype).max / 8)


@jax.jit
def choose(outcomes: Outcomes, price: Array) -> jax.Array:
  """Returns the arm of best score for each individual, z(lambda) of Alg. 2.

  Costs below 0 count as 0. Ties go to the lowest cost, then the lowest arm.
  Jitted, since the compiler rounds r - lambda c once where separate operations
  round it twice: at a price pinned to its last bit that decides about the
  individual at the jump, and search and choice must agree on it.

  Args:
    outcomes: `[n, M]`, original units.
    price: scalar.

  Returns:
    `[n]` int32.
  """
  revenue, cost = columns(outcomes)
  arms = np.arange(len(cost), dtype=np.int32)
  (chosen,) = best_arm(revenue, cost, price, arms)
  return jnp.broadcast_to(chosen, revenue[0].shape)


def best_arm(
  revenue: Sequence[Array],
  cost: Sequence[Array],
  price: Array,
  *carried: Sequence[Array],
  xp=jnp,
) -> list[Array]:
  """Reads `carried` at the arm of best score: the one tie rule.

  A scan over the arms, so that all M columns fuse into one vectorised pass:
  on a CPU faster than argmax, and ties are settled on the way.

  Args:
    revenue: M columns `[n]`.
    cost: M columns `[n]`, not negative.
    price: scalar.
    *carried: each M columns `[n]` or scalars.
    xp: jax.numpy or numpy.

  Returns:
    One `[n]` array for each of `carried`.
  """
  best, lowest = revenue[0] - price * cost[0], cost[0]
  taken = [cells[0] for cells in carried]
  for j in range(1, len(cost)):
    score = revenue[j] - price * cost[j]
    better = (score > best) | ((score == best) & (cost[j] < lowest))
    best = xp.maximum(best, score)
    lowest = xp.where(better, cost[j], lowest)
    taken = [
      xp.where(better, cells[j], kept)
      for cells, kept in zip(carried, taken, strict=True)
    ]
  return taken


def greatest_slope(
  revenue: Sequence[Array], cost: Sequence[Array], counted: Array, xp=jnp
) -> Array:
  """Bounds the price: max (r_j - r_k) / (c_j - c_k) over pairs c_j > c_k.

  Above it every row takes its cheapest arm. At least 0, never infinite.

  Args:
    revenue: M columns `[n]`.
    cost: M columns `[n]`.
    counted: `[n]` bool, the rows that matter, or a scalar.
    xp: jax.numpy or numpy.
  """
  largest = xp.zeros((), revenue[0].dtype)
  for j in range(len(cost)):
    for k in range(j):
      step = cost[j] - cost[k]
      gain = xp.where(
        step < 0, revenue[k] - revenue[j], revenue[j] - revenue[k]
      )
      usable = counted & (step != 0) & (gain > 0)
      slope = xp.where(usable, gain, 0) / xp.where(usable, xp.abs(step), 1)
      largest = xp.maximum(largest, xp.max(slope))
  return xp.minimum(largest, greatest_price(revenue[0].dtype))


def columns(outcomes: Outcomes) -> tuple[list[jax.Array], list[jax.Array]]:
  """Splits into M columns each, floating, costs floored at 0."""
  # At least float32: whole numbers and half precision would not do as prices.
  dtype = jnp.result_type(outcomes.revenue, outcomes.cost, jnp.float32)
  revenue = jnp.asarray(outcomes.revenue, dtype)
  cost = jnp.maximum(jnp.asarray(outcomes.cost, dtype), 0)
  return list(revenue.T), list(cost.T)
