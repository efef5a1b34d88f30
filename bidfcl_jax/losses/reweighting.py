"""Losses of the methods that correct OBS by the logging propensities.

Both estimate the squared error over the whole population out of rows whose arm
was chosen by e(x), with the inverse propensity v_i = 1 / e_{t_i}(x_i):

  reweighted     sum_i v_i MSE_t(i) / sum_i v_i                    (IPS)
  doubly robust  (1/n) sum_i [ sum_j ehat_ij + v_i (e_i - ehat_{i t_i}) ]
                 ehat_ij = (F_ij - m_ij)^2, e_i = (F_{i t_i} - y_i)^2  (DR-JT)

The second is unbiased where either the imputed labels m or v are right.
"""

import chex
import jax
import jax.numpy as jnp

from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import received, safe_ratio, weighted_mean
from bidfcl_jax.types import Array, Outcomes, Samples

NORMALISE = ("self", "plain")


def reweighted_loss(
  predicted: Outcomes,
  samples: Samples,
  row_weight: Array,
  *,
  normalise: str = "self",
  learn_cost: bool = True,
) -> jax.Array:
  """Factual squared error with a weight of its own for each row.

  Args:
    predicted: `[n, M]`, scaled units.
    samples: rows in the same units; weight 0 leaves a row out.
    row_weight: `[n]` v.
    normalise: "self" divides by the sum of v, "plain" by the number of rows.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Scalar; 0 where all weights are 0.

  Raises:
    ValueError: unknown `normalise`.
  """
  if normalise not in NORMALISE:
    raise ValueError(f"normalise {normalise!r} is not one of {NORMALISE}")
  weight = samples.weight * row_weight
  loss = factual_loss(
    predicted, samples.replace(weight=weight), learn_cost=learn_cost
  )
  if normalise == "plain":
    loss *= safe_ratio(jnp.sum(weight), jnp.sum(samples.weight))
  return loss


def doubly_robust_loss(
  predicted: Outcomes,
  imputed: Outcomes,
  samples: Samples,
  inverse: Array,
  *,
  learn_cost: bool = True,
) -> jax.Array:
  """Imputed errors of all cells, corrected by the observed one.

  Args:
    predicted: F, `[n, M]`, scaled units.
    imputed: labels m, `[n, M]`; constants, or ehat would vanish.
    samples: rows in the same units; weight 0 leaves a row out.
    inverse: `[n]` v.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Scalar, the sum over arms of the mean squared error; may be negative; 0
    where all weights are 0.
  """
  chex.assert_equal_shape([predicted.revenue, imputed.revenue])

  def total(cells, labels, observed):
    guess = (cells - labels) ** 2
    seen = (received(cells, samples.arm) - observed) ** 2
    correction = inverse * (seen - received(guess, samples.arm))
    return jnp.sum(guess, axis=1) + correction

  error = total(predicted.revenue, imputed.revenue, samples.revenue)
  if learn_cost:
    error += total(predicted.cost, imputed.cost, samples.cost)
  return weighted_mean(error, samples.weight)
