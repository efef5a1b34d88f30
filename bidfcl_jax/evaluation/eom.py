"""EOM, the expected outcome metric (Algorithm 6), any number of arms.

On randomised rows, for predictions and a per-capita budget b: search the price
at which the policy's *estimated* spend is b, and report its estimated revenue

  rbar(b) = (1/N) sum_i 1[t_i = z_i(price)] r_i / p_{t_i}

(or another estimator of losses/value.py by name). One estimator serves the
search and the value: they are never mixed. The search is that of
allocation/price.py (0 and a geometric grid over twelve decades, last crossing,
then halving); how the budget is then met is in at_budget.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.allocation import price_for_budget
from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.evaluation.at_budget import (
  EomResult,
  Side,
  checked,
  checked_budget,
  on_host,
  value_at_budget,
)
from bidfcl_jax.losses.value import ESTIMATORS, policy_value
from bidfcl_jax.types import Array, Outcomes, Samples


def estimated_value(
  arms: Array,
  samples: Samples,
  propensity: Array,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
) -> Side:
  """Estimates the value of giving `arms` `[n]` from randomised rows."""
  dtype = samples.revenue.dtype
  policy = jax.nn.one_hot(arms, propensity.shape[-1], dtype=dtype)
  revenue, cost = policy_value(
    policy, samples, propensity, estimator=estimator, nuisance=nuisance
  )
  mass = jnp.ones((), dtype)
  if estimator == "snipw":
    ones = samples.replace(revenue=jnp.ones_like(samples.revenue))
    mass, _ = policy_value(policy, ones, propensity)
  return Side(revenue, cost, mass)


def eom_core(
  outcomes: Outcomes,
  samples: Samples,
  propensity: Array,
  budget: Array,
  nuisance: Outcomes | None = None,
  *,
  exact: bool = True,
  estimator: str = "ipw",
) -> EomResult:
  """Computes EOM without host work: pure jnp, for a jitted or vmapped caller.

  Args:
    outcomes: predictions `[n, M]`, original units; finite.
    samples: randomised Samples; weight 0 for padding.
    propensity: `[M]` arm shares.
    budget: scalar per capita.
    nuisance: outcome model `[n, M]`; "dr" only.
    exact: spend the budget exactly; else the feasible side.
    estimator: "ipw", "snipw" or "dr".

  Returns:
    EomResult in the precision of the arrays.
  """
  searched, limit = samples, budget
  if estimator == "snipw":
    # sum(m c) / sum(m) > b  is  sum(m (c - b)) > 0: an unnormalised search.
    searched, limit = samples.replace(cost=samples.cost - budget), 0.0
  bracket = price_for_budget(
    outcomes,
    limit,
    cost="dr" if estimator == "dr" else "ipw",
    samples=searched,
    propensity=propensity,
    nuisance=nuisance,
    halvings=outcomes.revenue.dtype.itemsize * 8,
  )

  def value(arms):
    return estimated_value(arms, samples, propensity, estimator, nuisance)

  return value_at_budget(outcomes, bracket, value, budget, exact=exact)


_eom = functools.partial(jax.jit, static_argnames=("exact", "estimator"))(
  eom_core
)


def shares(samples: Samples, propensity, arms: int) -> np.ndarray:
  """Returns `[M]` shares: counted on these rows if None, else checked."""
  if propensity is None:
    return counted_propensity(samples.arm, arms, weight=samples.weight)
  codes = np.asarray(samples.arm)
  if len(codes) and (codes.min() < 0 or codes.max() >= arms):
    raise ValueError(
      f"arm codes run from {codes.min()} to {codes.max()}, but {arms} shares "
      "are declared"
    )
  return declared_propensity(propensity, arms)


def in_float64(samples: Samples) -> Samples:
  """Returns rows without features, as NumPy with money in float64."""

  def wide(column):
    return np.asarray(column, np.float64)

  return Samples(
    features=None,
    arm=np.asarray(samples.arm),
    revenue=wide(samples.revenue),
    cost=wide(samples.cost),
    weight=wide(samples.weight),
    group=np.asarray(samples.group),
  )


def eom_result(
  outcomes: Outcomes,
  samples: Samples,
  propensity,
  budget,
  *,
  exact: bool = True,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
) -> EomResult:
  """Computes EOM and how the budget was met.

  Args:
    outcomes: predictions `[n, M]`, original units, any float dtype; costs
      below 0 count as 0, as in allocation.
    samples: randomised Samples of the same individuals; rows of weight 0
      change nothing.
    propensity: None: shares counted on these rows; `[M]`: declared shares.
    budget: scalar per capita, original units.
    exact: True: the policies at both sides of the price bracket are mixed so
      that the estimated spend is exactly the budget; False: the value of the
      feasible side (Algorithm 6).
    estimator: "ipw" (the paper's), "snipw" or "dr", for spend and revenue.
    nuisance: outcome model `[n, M]`; needed by "dr", refused by the others.

  Returns:
    EomResult of NumPy scalars, computed in float64 whatever JAX's mode.

  Raises:
    ValueError: shapes, a prediction that is not finite, shares (see
      data/shares.py), a budget that is not one finite number, an unknown
      estimator, or a nuisance that is missing or not used.
  """
  budget = checked_budget(budget)
  outcomes = checked("predicted", outcomes, len(samples))
  if estimator not in ESTIMATORS:
    raise ValueError(f"estimator {estimator!r} is not one of {ESTIMATORS}")
  if (estimator == "dr") != (nuisance is not None):
    state = "missing" if nuisance is None else "given"
    raise ValueError(
      f"estimator {estimator!r} with its nuisance {state}: 'dr' needs the "
      "Outcomes of a model of these rows, the others have no use for them"
    )
  if nuisance is not None:
    nuisance = checked("nuisance", nuisance, len(samples))
  propensity = shares(samples, propensity, outcomes.revenue.shape[1])
  # The switch is local to this call: over 1e6 rows float32 sums would lose
  # digits that tell methods apart.
  with jax.enable_x64(True):
    result = _eom(
      outcomes,
      in_float64(samples),
      propensity,
      budget,
      nuisance,
      exact=exact,
      estimator=estimator,
    )
  return on_host(result)


def eom(
  outcomes: Outcomes,
  samples: Samples,
  propensity,
  budget,
  *,
  exact: bool = True,
  estimator: str = "ipw",
  nuisance: Outcomes | None = None,
) -> float:
  """Returns the revenue of `eom_result`: NaN where the budget is infeasible."""
  result = eom_result(
    outcomes,
    samples,
    propensity,
    budget,
    exact=exact,
    estimator=estimator,
    nuisance=nuisance,
  )
  return float(result.revenue)
