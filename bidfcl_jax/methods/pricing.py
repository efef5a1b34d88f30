"""Price, temperature and reward of a decision loss on RCT rows.

The decision losses take lambda*, tau and the price mu in the reward as
constants. This file makes them from the model at hand, under the options of
DecisionConfig (method.md 3 and 6):

  lambda*  the price at which the policy spends b by IPW on the RCT rows,
           within [1/clip, clip] x a reference price: a decision loss can learn
           to make predicted costs useless, and an unbounded price follows it
  tau      relative to the scores: their median gap (frozen at the warm start)
           or their spread (adaptive)
  mu       0 ("frozen", the paper), lambda* ("dual") or the smoothed marginal
           price ("total")
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.allocation import price_for_budget
from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.losses.decision import marginal_price
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.types import Array, Outcomes, Samples

ALL_ROWS = 10_000


class Terms(NamedTuple):
  """What a decision loss takes besides predictions and rows; constants."""

  price: jax.Array
  temperature: jax.Array
  reward_price: jax.Array


@struct.dataclass
class Pricing:
  """What is remembered between decision losses.

  Attributes:
    bounds: `[2]`, the interval of lambda*; (0, inf) without a clip.
    temperature: frozen tau, score units; 0 where it is adaptive.
    mu: moving average of the marginal price.
    mu_seen: bool, whether mu holds a value yet.
  """

  bounds: jax.Array
  temperature: jax.Array
  mu: jax.Array
  mu_seen: jax.Array


def empty_pricing() -> Pricing:
  """Returns the Pricing before a stage with a decision loss begins."""
  return Pricing(
    bounds=jnp.array([0.0, jnp.inf]),
    temperature=jnp.zeros(()),
    mu=jnp.zeros(()),
    mu_seen=jnp.asarray(False),
  )


def rows_at_upper_level(config: DecisionConfig, rows: int) -> int:
  """Returns how many of `rows` RCT rows one decision loss reads."""
  return min(rows, config.rows or ALL_ROWS)


def draw_rows(key: jax.Array, samples: Samples, count: int) -> Samples:
  """Draws `count` rows with replacement; all of them where count is n.

  With replacement, since a permutation of the whole set costs more than the
  loss itself.
  """
  if count >= len(samples):
    return samples
  rows = jax.random.randint(key, (count,), 0, len(samples))
  return jax.tree.map(lambda leaf: leaf[rows], samples)


def solve_price(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  budget: Array,
  config: DecisionConfig,
  bounds: Array | None = None,
) -> jax.Array:
  """Returns lambda*: the feasible side of the IPW price for the budget."""
  _, price = price_for_budget(
    outcomes,
    budget,
    cost="ipw",
    samples=samples,
    propensity=propensity,
    bounds=bounds,
    halvings=config.price_halvings,
  )
  return price


def reference_bounds(price: jax.Array, config: DecisionConfig) -> jax.Array:
  """Returns [price / clip, price * clip], or (0, inf) without a clip.

  A reference price of 0 (the budget does not bind yet) bounds nothing above:
  clipped to [0, 0] the price could never follow a budget that binds later.
  """
  if config.price_clip == 0:
    return jnp.array([0.0, jnp.inf])
  high = jnp.where(price > 0, price * config.price_clip, jnp.inf)
  return jnp.stack([price / config.price_clip, high])


def median_gap(scores: Array, weight: Array) -> jax.Array:
  """Median over rows of best minus second-best score."""
  top = jax.lax.top_k(scores, 2)[0]
  gap = jnp.where(weight > 0, top[:, 0] - top[:, 1], jnp.nan)
  return jnp.nanmedian(gap)


def score_spread(scores: Array, weight: Array) -> jax.Array:
  """sqrt(mean_i var_j a_ij)."""
  return jnp.sqrt(weighted_mean(jnp.var(scores, axis=1), weight))


def _above_zero(temperature: jax.Array, scores: Array) -> jax.Array:
  """Keeps tau away from 0 where all scores of all rows are equal."""
  scale = jnp.max(jnp.abs(scores))
  return jnp.maximum(temperature, 1e-6 * jnp.maximum(scale, 1e-6))


def frozen_temperature(
  outcomes: Outcomes, samples: Samples, price: Array, config: DecisionConfig
) -> jax.Array:
  """Returns tau of the kinds that are set once: "gap" and "absolute"."""
  kind, value = config.temperature
  if kind == "absolute":
    return jnp.asarray(value, outcomes.revenue.dtype)
  if kind == "gap":
    scores = outcomes.score(price)
    tau = value * median_gap(scores, samples.weight)
    return _above_zero(tau, scores)
  return jnp.zeros((), outcomes.revenue.dtype)


def decision_terms(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  budget: Array,
  pricing: Pricing,
  config: DecisionConfig,
) -> tuple[Terms, Pricing, dict[str, jax.Array]]:
  """Makes the constants of one decision loss.

  Args:
    outcomes: predicted on the rows, original units; not differentiated.
    samples: RCT rows.
    propensity: `[M]`.
    budget: per capita.
    pricing: what is remembered.
    config: options.

  Returns:
    (Terms, Pricing with the new mu, metrics).
  """
  outcomes = jax.lax.stop_gradient(outcomes)
  clip = config.price_clip > 0
  price = solve_price(
    outcomes,
    samples,
    propensity,
    budget,
    config,
    pricing.bounds if clip else None,
  )
  scores = outcomes.score(price)
  kind, value = config.temperature
  tau = pricing.temperature
  if kind == "spread":
    tau = value * score_spread(scores, samples.weight)
  tau = _above_zero(tau, scores)

  reward_price = jnp.zeros_like(price)
  if config.price_gradient == "dual":
    reward_price = price
  elif config.price_gradient == "total":
    raw = marginal_price(
      outcomes, samples, propensity, price=price, temperature=tau
    )
    raw = jnp.clip(raw, 0, 10 * price + 1)
    usable = jnp.isfinite(raw)
    raw = jnp.where(usable, raw, pricing.mu)
    decay = jnp.where(pricing.mu_seen, config.mu_decay, 0.0)
    mu = decay * pricing.mu + (1 - decay) * raw
    pricing = pricing.replace(mu=mu, mu_seen=pricing.mu_seen | usable)
    reward_price = mu
  low, high = pricing.bounds
  at_low = (low > 0) & (price <= 1.001 * low)
  clipped = at_low | (price >= 0.999 * high)
  metrics = {
    "price": price,
    "temperature": tau,
    "reward_price": reward_price,
    "price_clipped": (clipped & clip).astype(jnp.float32),
  }
  return Terms(price, tau, reward_price), pricing, metrics
