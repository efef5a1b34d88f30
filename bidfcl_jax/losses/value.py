"""Off-policy value on randomised rows: the one place that divides by p.

Estimators by name, for revenue and cost alike (y either of them, z the
policy's probability of each arm, p the arm shares, w row weights):

  "ipw"    sum_i w_i z_{i t_i} y_i / p_{t_i}  /  sum_i w_i          (eq. 11)
  "snipw"  the same divided by sum_i w_i z_{i t_i} / p_{t_i} / sum_i w_i
  "dr"     sum_i w_i [ sum_j z_ij m_ij + z_{i t_i} (y_i - m_{i t_i}) / p_{t_i} ]
           / sum_i w_i   with a given outcome model m ("nuisance")
"""

import jax
import jax.numpy as jnp

from bidfcl_jax.types import Array, Outcomes, Samples

ESTIMATORS = ("ipw", "snipw", "dr")


def safe_ratio(numerator: Array, denominator: Array) -> jax.Array:
  """Divides, giving 0 (and a zero gradient) where the denominator is 0."""
  zero = denominator == 0
  return jnp.where(zero, 0.0, numerator / jnp.where(zero, 1.0, denominator))


def weighted_mean(values: Array, weight: Array) -> jax.Array:
  """Returns sum(weight * values) / sum(weight); 0 where all weights are 0."""
  return safe_ratio(jnp.sum(weight * values), jnp.sum(weight))


def received(cells: Array, arm: Array) -> jax.Array:
  """Returns `cells[i, arm[i]]`, `[n]`, of an `[n, M]` array."""
  return jnp.take_along_axis(cells, arm[:, None], axis=1)[:, 0]


def inverse_weight(samples: Samples, propensity: Array) -> jax.Array:
  """Returns `[n]` w_i / (p_{t_i} sum_k w_k): dot with y for an IPW mean.

  An arm with share 0 gives weight 0; `data.shares` refuses such shares.
  """
  inverse = safe_ratio(jnp.ones_like(propensity), propensity)
  total = jnp.sum(samples.weight)
  return safe_ratio(samples.weight * inverse[samples.arm], total)


def policy_value(
  policy: Array,
  samples: Samples,
  propensity: Array,
  *,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Estimates the revenue and cost of a policy from randomised rows.

  Args:
    policy: `[n, M]` probability of each arm for each row.
    samples: randomised Samples.
    propensity: `[M]` arm shares.
    estimator: "ipw", "snipw" or "dr".
    nuisance: outcome model `[n, M]`, original units; "dr" only.

  Returns:
    (revenue, cost) per capita, original units.

  Raises:
    ValueError: unknown estimator, or "dr" without a nuisance.
  """
  if estimator not in ESTIMATORS:
    raise ValueError(f"estimator {estimator!r} is not one of {ESTIMATORS}")
  if estimator == "dr" and nuisance is None:
    raise ValueError("estimator 'dr' needs a nuisance: Outcomes of the rows")
  matched = received(policy, samples.arm) * inverse_weight(samples, propensity)

  def estimate(y, model):
    if estimator == "dr":
      direct = weighted_mean(jnp.sum(policy * model, axis=1), samples.weight)
      return direct + jnp.sum(matched * (y - received(model, samples.arm)))
    total = jnp.sum(matched * y)
    return (
      safe_ratio(total, jnp.sum(matched)) if estimator == "snipw" else total
    )

  models = (
    (None, None) if nuisance is None else (nuisance.revenue, nuisance.cost)
  )
  return (
    estimate(samples.revenue, models[0]),
    estimate(samples.cost, models[1]),
  )
