"""Policy losses: smooth surrogates of the decision loss (method.md 3).

The decision loss L_DL = -(1/N) sum_i z*_{i t_i} r_i / p_{t_i} (eq. 11) of the
policy z* that maximises a_ij = r_hat_ij - lambda c_hat_ij is piecewise
constant. The policy losses (PPL eq. 16, DPL A.7) put softmax(a / tau) in place
of z*; finite_difference.py has the other family.

lambda, tau and mu are arguments: constants of the differentiation, so that each
function can be checked by finite differences. `reward_price` is what a unit of
cost takes off the reward: 0 in the paper's primal losses, lambda in the dual
ones, mu = `marginal_price` for the gradient with the budget held.
All losses are negative revenue per capita, original units.
"""

import chex
import jax
import jax.numpy as jnp

from bidfcl_jax.losses.value import (
  inverse_weight,
  policy_value,
  received,
  safe_ratio,
  weighted_mean,
)
from bidfcl_jax.types import Array, Outcomes, Samples


def soft_policy(scores: Array, temperature: Array) -> jax.Array:
  """Returns softmax(scores / temperature), `[n, M]`; finite at any scale."""
  best = jax.lax.stop_gradient(jnp.max(scores, axis=1, keepdims=True))
  return jax.nn.softmax((scores - best) / temperature, axis=1)


def policy_loss(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  *,
  price: Array,
  temperature: Array,
  reward_price: Array = 0.0,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
) -> jax.Array:
  """-(1/N) sum_i z'_{i t_i} (r_i - reward_price c_i) / p_{t_i} (eq. 16, A.7).

  Args:
    outcomes: predicted, `[n, M]`, original units.
    samples: randomised rows, original units.
    propensity: `[M]` arm shares of the whole RCT training set.
    price: lambda, a constant.
    temperature: tau > 0, in units of the score.
    reward_price: taken off the reward per unit of observed cost.
    estimator: of the policy's value; "ipw" (the paper), "snipw" or "dr".
    nuisance: outcome model `[n, M]`, original units; "dr" only.

  Returns:
    Scalar.

  Raises:
    ValueError: see `losses.policy_value`.
  """
  chex.assert_rank([outcomes.revenue, outcomes.cost], 2)
  policy = soft_policy(outcomes.score(price), temperature)
  revenue, cost = policy_value(
    policy, samples, propensity, estimator=estimator, nuisance=nuisance
  )
  return -(revenue - reward_price * cost)


def plugin_policy_loss(
  outcomes: Outcomes,
  labels: Outcomes,
  weight: Array,
  *,
  price: Array,
  temperature: Array,
  reward_price: Array = 0.0,
) -> jax.Array:
  """The policy loss with a teacher's outcomes in place of observed ones.

  -(1/N) sum_ij z'_ij (labels^r_ij - reward_price labels^c_ij); needs
  covariates only, so `weight` `[n]` may belong to OBS rows.
  """
  policy = soft_policy(outcomes.score(price), temperature)
  reward = labels.score(reward_price)
  return -weighted_mean(jnp.sum(policy * reward, axis=1), weight)


def plugin_marginal_price(
  outcomes: Outcomes,
  labels: Outcomes,
  weight: Array,
  *,
  price: Array,
  temperature: Array,
) -> jax.Array:
  """The marginal price with a teacher's outcomes for observed ones.

  mu = sum_ij dz_ij labels^r_ij / sum_ij dz_ij labels^c_ij, with the policy's
  slope in the price dz_ij = -z_ij (c_hat_ij - sum_k z_ik c_hat_ik).

  Returns:
    Scalar; 0 where nothing moves with the price.
  """
  policy = soft_policy(outcomes.score(price), temperature)
  mean_cost = jnp.sum(policy * outcomes.cost, axis=1, keepdims=True)
  slope = -policy * (outcomes.cost - mean_cost) * weight[:, None]
  return safe_ratio(
    jnp.sum(slope * labels.revenue), jnp.sum(slope * labels.cost)
  )


def marginal_price(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  *,
  price: Array,
  temperature: Array,
) -> jax.Array:
  """mu, the revenue that one more unit of cost buys at the boundary.

  With lambda re-solved so that the soft policy keeps its cost, the gradient of
  revenue is that of the loss with reward r - mu c, where
  mu = (dR/dlambda) / (dC/dlambda) = sum_i H_i (r_i - rbar_i) / sum_i H_i (c_i -
  cbar_i), H_i = z'_{it} (c_hat_{it} - sum_j z'_ij c_hat_ij) / p_t, and the
  predicted means rbar, cbar under z' only cut noise (ours).

  Returns:
    Scalar; 0 where nothing moves with the price.
  """
  policy = soft_policy(outcomes.score(price), temperature)
  mean_cost = jnp.sum(policy * outcomes.cost, axis=1)
  mean_revenue = jnp.sum(policy * outcomes.revenue, axis=1)
  pull = (
    inverse_weight(samples, propensity)
    * received(policy, samples.arm)
    * (received(outcomes.cost, samples.arm) - mean_cost)
  )
  return safe_ratio(
    jnp.sum(pull * (samples.revenue - mean_revenue)),
    jnp.sum(pull * (samples.cost - mean_cost)),
  )


def ppl(outcomes, samples, propensity, *, price, temperature):
  """Primal policy learning (eq. 16): revenue alone is rewarded."""
  return policy_loss(
    outcomes, samples, propensity, price=price, temperature=temperature
  )


def dpl(outcomes, samples, propensity, *, price, temperature):
  """Dual policy learning (A.7): reward r - price c at a given price."""
  return policy_loss(
    outcomes,
    samples,
    propensity,
    price=price,
    temperature=temperature,
    reward_price=price,
  )
