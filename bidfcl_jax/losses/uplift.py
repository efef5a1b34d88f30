"""Losses whose minimum is the return on investment of an arm (DHCL).

Zhou, Li, Jiang, Zheng, Wang (AAAI 2023, arXiv 2211.15728), baselines.md 2.3.
They read effects off arm means of the batch, so that a batch must hold nearly
the full experiment; the minimum is unique where the cost of the effect is
positive, and finite where its return is below 1.
"""

import chex
import jax
import jax.numpy as jnp

from bidfcl_jax.losses.value import inverse_weight, weighted_mean
from bidfcl_jax.types import Array, Samples


def direct_roi_loss(scores: Array, samples: Samples) -> jax.Array:
  """Returns the loss of two arms: -(A1[r s - c softplus(s)] - A0[same]).

  A1 and A0 are means over the treated and the control rows. With a constant
  score it is smallest where sigmoid(s) = effect on r / effect on c.

  Args:
    scores: s, `[n]`.
    samples: rows of arms 0 and 1, revenue scaled so that returns are below 1.

  Returns:
    Scalar; 0 where an arm has no row.
  """
  chex.assert_equal_shape([scores, samples.revenue])
  value = samples.revenue * scores - samples.cost * jax.nn.softplus(scores)
  treated = samples.weight * (samples.arm == 1)
  control = samples.weight * (samples.arm == 0)
  gap = weighted_mean(value, treated) - weighted_mean(value, control)
  whole = (jnp.sum(treated) > 0) & (jnp.sum(control) > 0)
  return -jnp.where(whole, gap, 0.0)


def marginal_roi_loss(
  steps: Array, samples: Samples, propensity: Array
) -> jax.Array:
  """Returns the loss of M ordered arms, smallest at half the marginal ROI.

  (1/n) sum_i 1/p_t [ c_i (q_{t-1}^2 - q_t^2) - r_i (q_{t-1} - q_t) ], terms
  beyond the first and the last arm being 0: the sample form of
  sum_k dC_k q_k^2 - dR_k q_k, whose minimum is q_k = dR_k / (2 dC_k). Without
  1/p_t arms of unequal size would give wrong ratios.

  Args:
    steps: q, `[n, M - 1]`: of the step from the arm of rank k to k + 1.
    samples: rows; `arm` is the arm's rank.
    propensity: `[M]` shares of the ranks.

  Returns:
    Scalar; 0 where all weights are 0.
  """
  chex.assert_shape(steps, (len(samples), len(propensity) - 1))
  below = jnp.pad(steps, ((0, 0), (1, 0)))
  above = jnp.pad(steps, ((0, 0), (0, 1)))

  def difference(one, two):
    rank = samples.arm[:, None]
    return jnp.take_along_axis(one - two, rank, axis=1)[:, 0]

  value = samples.cost * difference(below**2, above**2)
  value -= samples.revenue * difference(below, above)
  return jnp.sum(inverse_weight(samples, propensity) * value)
