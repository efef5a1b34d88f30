"""Temperatures of the softmax policy, relative to the scores (method.md 3).

The paper names no value: tau is a multiple of the median gap between best and
second score, frozen at the warm start, or of the scores' spread, adaptive.
"""

import jax
import jax.numpy as jnp

from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.types import Array, Outcomes, Samples


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
  """Returns tau of the kinds set once, "gap" and "absolute"; else 0."""
  kind, value = config.temperature
  if kind == "absolute":
    return jnp.asarray(value, outcomes.revenue.dtype)
  if kind == "gap":
    scores = outcomes.score(price)
    tau = value * median_gap(scores, samples.weight)
    return _above_zero(tau, scores)
  return jnp.zeros((), outcomes.revenue.dtype)


def temperature_at(
  outcomes: Outcomes,
  weight: Array,
  price: Array,
  frozen: Array,
  config: DecisionConfig,
) -> jax.Array:
  """Returns tau at a price: the frozen one, or that of the scores' spread."""
  scores = outcomes.score(price)
  kind, value = config.temperature
  tau = frozen
  if kind == "spread":
    tau = value * score_spread(scores, weight)
  return _above_zero(tau, scores)
