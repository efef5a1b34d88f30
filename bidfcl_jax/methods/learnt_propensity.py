"""Weights of OBS rows by a propensity that is learnt, not estimated.

A network P_phi of the target's trunk gives q_ij = sigmoid(P_phi(x_i))_j, and
v_i = clip(1 / q_{i t_i}, 1, cap) divided by its mean among the batch's rows of
the same arm (baselines.md 4.4).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import Config
from bidfcl_jax.losses.value import received, safe_ratio, weighted_mean
from bidfcl_jax.models import make_scores
from bidfcl_jax.types import Array, Samples, Study


def arm_means(values: Array, samples: Samples, arms: int) -> jax.Array:
  """Returns each row's `[n]` mean of `values` among the rows of its arm."""
  own = jax.nn.one_hot(samples.arm, arms, dtype=values.dtype)
  own = own * samples.weight[:, None]
  means = safe_ratio(values @ own, jnp.sum(own, axis=0))
  return means[samples.arm]


def propensity_weights(
  logits: Array, samples: Samples, *, cap: float
) -> jax.Array:
  """Computes v_i: 1 / sigmoid(logit) within [1, cap], mean 1 in each arm.

  Args:
    logits: P_phi, `[n, M]`.
    samples: rows of the batch.
    cap: greatest inverse propensity, over 1.

  Returns:
    `[n]`; the gradient is 0 where the cap holds.
  """
  # Clipped as a logit: exp of a large one would overflow before the clip.
  logit = jnp.maximum(received(logits, samples.arm), -np.log(cap - 1))
  inverse = 1 + jnp.exp(-logit)
  return safe_ratio(inverse, arm_means(inverse, samples, logits.shape[1]))


def weight_variance(weights: Array, samples: Samples) -> jax.Array:
  """Returns Var(v) over the rows of the batch."""
  mean = weighted_mean(weights, samples.weight)
  return weighted_mean((weights - mean) ** 2, samples.weight)


def init_propensity(key, config: Config, study: Study) -> Any:
  """Draws phi; its last bias makes q near the arms' shares in OBS."""
  features = study.obs.features.shape[1]
  phi = make_scores(config.network).init(key, features, study.arms)
  counts = np.bincount(
    study.obs.arm, weights=study.obs.weight, minlength=study.arms
  )
  # A rarer arm would begin at the cap, where the gradient is 0.
  least = min(0.5, 2 / config.debias.cap)
  share = np.clip(counts / max(counts.sum(), 1), least, 0.99)
  bias = jnp.asarray(np.log(share / (1 - share)), float)
  return {**phi, "head": {**phi["head"], "bias": bias}}
