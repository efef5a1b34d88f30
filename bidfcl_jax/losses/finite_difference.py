"""Improved finite differences of the decision loss (PIFD eq. 17, Alg. 3; DIFD).

The decision loss is piecewise constant in the scores a_ij. Its slope is
estimated by the smallest change of one score that changes the row's decision,
frozen, and multiplied by something that moves with the parameters.
"""

import jax
import jax.numpy as jnp

from bidfcl_jax.losses.decision import soft_policy
from bidfcl_jax.losses.value import inverse_weight, received
from bidfcl_jax.types import Array, Outcomes, Samples


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
