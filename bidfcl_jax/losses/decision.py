"""Surrogates of the decision loss on randomised rows (method.md 3).

The decision loss L_DL = -(1/N) sum_i z*_{i t_i} r_i / p_{t_i} (eq. 11) of the
policy z* that maximises a_ij = r_hat_ij - lambda c_hat_ij is piecewise
constant. Its surrogates differ in what replaces z*:

  policy losses (PPL eq. 16, DPL A.7)   softmax(a / tau)
  finite differences (PIFD eq. 17, DIFD) the smallest change of one score that
                                         changes the row's decision

lambda, tau, mu and g are arguments: constants of the differentiation, so that
each function can be checked by finite differences. `reward_price` is what a
unit of cost takes off the reward: 0 in the paper's primal losses, lambda in the
dual ones, mu = `marginal_price` for the gradient with the budget held.
All losses are negative revenue per capita, original units.
"""

import chex
import jax
import jax.numpy as jnp

from bidfcl_jax.losses.value import (
  inverse_weight,
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
) -> jax.Array:
  """-(1/N) sum_i z'_{i t_i} (r_i - reward_price c_i) / p_{t_i} (eq. 16, A.7).

  Args:
    outcomes: predicted, `[n, M]`, original units.
    samples: randomised rows, original units.
    propensity: `[M]` arm shares of the whole RCT training set.
    price: lambda, a constant.
    temperature: tau > 0, in units of the score.
    reward_price: taken off the reward per unit of observed cost.

  Returns:
    Scalar.
  """
  chex.assert_rank([outcomes.revenue, outcomes.cost], 2)
  policy = soft_policy(outcomes.score(price), temperature)
  reward = samples.revenue - reward_price * samples.cost
  matched = received(policy, samples.arm)
  return -jnp.sum(inverse_weight(samples, propensity) * matched * reward)


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


def pifd_coefficients(
  scores: Array,
  samples: Samples,
  propensity: Array,
  *,
  gap_floor: Array,
  argmax: str = "paper",
  window: Array | None = None,
) -> jax.Array:
  """g_ij = dL_DL/da_ij by the smallest decisive change of a_ij (Alg. 3).

  With u_i = r_i / (N p_{t_i}) and gap the distance to the decision's change:
  a matched row (t_i is the best arm) gets +u/gap at every rival and -u/gap
  (gap to the runner-up) at t_i; a mismatched row gets -u/gap at t_i and +u/gap
  at the best arm.

  Args:
    scores: a, `[n, M]`, money.
    samples: randomised rows; `revenue` is the reward.
    propensity: `[M]`.
    gap_floor: gaps below it count as it (1/gap has no finite mean).
    argmax: the mismatched best arm's cell; "paper" (always) or "exact" (0
      unless t_i is the runner-up, the true finite difference).
    window: only cells with gap < window count, with 1/window.

  Returns:
    `[n, M]`, at most u / gap_floor in size.

  Raises:
    ValueError: unknown `argmax`.
  """
  if argmax not in ("paper", "exact"):
    raise ValueError(f"argmax {argmax!r} is not 'paper' or 'exact'")
  arms = scores.shape[1]
  unit = (inverse_weight(samples, propensity) * samples.revenue)[:, None]
  best = jnp.argmax(scores, axis=1)
  is_best = jax.nn.one_hot(best, arms, dtype=bool)
  is_received = jax.nn.one_hot(samples.arm, arms, dtype=bool)
  runner_up = jnp.argmax(jnp.where(is_best, -jnp.inf, scores), axis=1)
  matched = (best == samples.arm)[:, None]

  top = received(scores, best)[:, None]
  second = received(scores, runner_up)[:, None]
  own = received(scores, samples.arm)[:, None]
  gap = jnp.where(
    matched, jnp.where(is_best, top - second, top - scores), top - own
  )
  if window is None:
    steepness = 1.0 / jnp.maximum(gap, gap_floor)
  else:
    steepness = jnp.where(gap < window, 1.0 / window, 0.0)

  lowered = is_best
  if argmax == "exact":
    lowered &= (runner_up == samples.arm)[:, None]
  sign = jnp.where(
    matched,
    jnp.where(is_received, -1.0, 1.0),
    jnp.where(is_received, -1.0, jnp.where(lowered, 1.0, 0.0)),
  )
  return sign * unit * steepness


def finite_difference_loss(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  *,
  price: Array,
  temperature: Array = 1.0,
  gap_floor: Array,
  window: Array | None = None,
  argmax: str = "paper",
  multiplier: str = "softmax",
  reward_price: Array = 0.0,
) -> jax.Array:
  """sum_ij stop_gradient(g_ij) s_ij (eq. 17): g as pifd_coefficients.

  Args:
    outcomes: predicted, `[n, M]`, original units.
    samples: randomised rows.
    propensity: `[M]`.
    price: lambda, a constant.
    temperature: tau of the "softmax" multiplier.
    gap_floor: least gap, score units (the caller passes 0.5 x median gap).
    window: see pifd_coefficients.
    argmax: see pifd_coefficients.
    multiplier: s; "softmax" (the paper's z') or "score" (the direction of g).
    reward_price: taken off the reward per unit of observed cost.

  Returns:
    Scalar; its gradient is what matters, its value is not the decision loss.

  Raises:
    ValueError: unknown `multiplier` or `argmax`.
  """
  if multiplier not in ("softmax", "score"):
    raise ValueError(f"multiplier {multiplier!r} is not 'softmax' or 'score'")
  scores = outcomes.score(price)
  reward = samples.revenue - reward_price * samples.cost
  slope = pifd_coefficients(
    jax.lax.stop_gradient(scores),
    samples.replace(revenue=reward),
    propensity,
    gap_floor=gap_floor,
    argmax=argmax,
    window=window,
  )
  moved = (
    soft_policy(scores, temperature) if multiplier == "softmax" else scores
  )
  return jnp.sum(jax.lax.stop_gradient(slope) * moved)


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


def pifd(outcomes, samples, propensity, *, price, **options):
  """Primal improved finite difference (eq. 17, Alg. 3)."""
  return finite_difference_loss(
    outcomes, samples, propensity, price=price, **options
  )


def difd(outcomes, samples, propensity, *, price, **options):
  """Dual improved finite difference (A.7): reward r - price c."""
  return finite_difference_loss(
    outcomes, samples, propensity, price=price, reward_price=price, **options
  )
