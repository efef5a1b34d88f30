"""The price at which a softmax policy meets a budget; pure, under jit.

`price_for_budget` prices the hard policy that will be deployed; the policy
losses train a soft one, whose spend differs at the same price. With the soft
price the "total" price gradient is that of the budgeted objective exactly
(method.md 3, baselines.md 7.4).
"""

import jax
import jax.numpy as jnp

from bidfcl_jax.losses.decision import soft_policy
from bidfcl_jax.losses.value import policy_value
from bidfcl_jax.types import Array, Outcomes, Samples

_WIDENINGS = 40


def soft_price_for_budget(
  outcomes: Outcomes,
  budget: Array,
  *,
  temperature: Array,
  samples: Samples,
  propensity: Array,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
  bounds: tuple[Array, Array] | None = None,
  halvings: int = 40,
) -> jax.Array:
  """Finds lambda >= 0 with cost(softmax((r_hat - lambda c_hat) / tau)) = b.

  The spend is smooth in lambda but, being estimated from outcomes, not quite
  monotone: the bracket is widened from 1 upwards (or is `bounds`) and halved.

  Args:
    outcomes: predicted, `[n, M]`, original units; not differentiated.
    budget: scalar b, per capita, original units.
    temperature: tau > 0, in units of the score.
    samples: randomised rows, original units.
    propensity: `[M]`.
    estimator: "ipw", "snipw" or "dr" (losses.policy_value).
    nuisance: outcome model `[n, M]`; "dr" only.
    bounds: (least, greatest) price, the greatest may be infinite; None: all.
    halvings: of the bracket; static.

  Returns:
    The price, scalar: 0 (or the least bound) where the budget does not bind,
    the end of the bracket where even that overspends.
  """
  outcomes = jax.lax.stop_gradient(outcomes)

  def overspends(price):
    policy = soft_policy(outcomes.score(price), temperature)
    _, cost = policy_value(
      policy, samples, propensity, estimator=estimator, nuisance=nuisance
    )
    return cost > budget

  dtype = outcomes.revenue.dtype
  low = jnp.zeros((), dtype) if bounds is None else bounds[0]
  limit = jnp.asarray(jnp.inf if bounds is None else bounds[1], dtype)

  def wider(carry):
    high, count = carry
    return jnp.minimum(4 * high, limit), count + 1

  def too_low(carry):
    high, count = carry
    return (high < limit) & (count < _WIDENINGS) & overspends(high)

  first = jnp.minimum(jnp.maximum(4 * low, 1.0), limit)
  high, _ = jax.lax.while_loop(too_low, wider, (first, 0))

  def halve(_, ends):
    low, high = ends
    middle = 0.5 * (low + high)
    over = overspends(middle)
    return jnp.where(over, middle, low), jnp.where(over, high, middle)

  binding = overspends(low)
  _, price = jax.lax.fori_loop(0, halvings, halve, (low, high))
  return jnp.where(binding, price, low)
