"""RANDOM and BEST-ARM: rows of a table that use no features.

Each is held to the budget like every other row. A learned policy has to beat
both: with weak effects it may not (simulator.md), and then a table says
nothing about methods.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.evaluation.at_budget import (
  EomResult,
  Side,
  checked_budget,
  mixture,
)
from bidfcl_jax.evaluation.eom import estimated_value, in_float64, shares
from bidfcl_jax.evaluation.oracle import checked_truth, oracle_policy
from bidfcl_jax.types import Outcomes, Samples


class ConstantPolicies(NamedTuple):
  """Values at a budget.

  Attributes:
    random: RANDOM, a uniform arm, mixed with control or the dearest arm to
      spend b (its price is NaN: it has none).
    best_arm: BEST-ARM, the best mix of arms that is the same for everyone.
  """

  random: EomResult
  best_arm: EomResult


def arm_means(
  data: Outcomes | Samples, *, propensity=None, estimator="ipw", arms=None
) -> Outcomes:
  """Returns the mean outcomes of giving everyone one arm, `[1, M]` float64.

  Args:
    data: the truth `[n, M]`, or randomised Samples.
    propensity: for Samples; None: counted on these rows; `[M]`: declared.
    estimator: for Samples; "ipw" or "snipw".
    arms: M, needed for Samples where propensity is None.

  Raises:
    ValueError: a truth or shares that are refused, or M not given.
  """
  if isinstance(data, Outcomes):
    truth = checked_truth(data)
    return Outcomes(truth.revenue.mean(0)[None], truth.cost.mean(0)[None])
  if propensity is None and arms is None:
    raise ValueError("to count shares give arms=M, the number of declared arms")
  propensity = shares(
    data, propensity, len(propensity) if arms is None else arms
  )
  with jax.enable_x64(True):
    rows = jax.tree.map(jnp.asarray, in_float64(data))
    sides = [
      estimated_value(
        jnp.full(len(data), arm), rows, jnp.asarray(propensity), estimator
      )
      for arm in range(len(propensity))
    ]
    values = np.array(jax.device_get(sides))
  return Outcomes(values[None, :, 0], values[None, :, 1])


def constant_policies(
  data: Outcomes | Samples,
  budget,
  *,
  propensity=None,
  estimator="ipw",
  arms=None,
) -> ConstantPolicies:
  """Values RANDOM and BEST-ARM at a budget.

  On Samples BEST-ARM's mix is chosen on the rows that value it: with few rows
  it is a little optimistic.

  Args:
    data: the truth `[n, M]` of the test individuals, or randomised Samples.
    budget: scalar per capita, 0 or more, original units.
    propensity: as of `arm_means`.
    estimator: as of `arm_means`.
    arms: as of `arm_means`.

  Returns:
    ConstantPolicies of NumPy scalars. RANDOM is not binding where even the
    dearest arm for everyone is within the budget, infeasible where all-control
    over-spends.

  Raises:
    ValueError: as of `arm_means`, or a budget that is no amount.
  """
  budget = checked_budget(budget)
  means = arm_means(data, propensity=propensity, estimator=estimator, arms=arms)
  return ConstantPolicies(
    random=_random(means.revenue[0], means.cost[0], budget),
    best_arm=oracle_policy(means, budget),
  )


def _random(revenue, cost, budget) -> EomResult:
  uniform = Side(revenue.mean(), cost.mean(), 1.0)
  saves = bool(uniform.cost > budget)
  other = 0 if saves else int(np.argmax(cost))
  single = Side(revenue[other], cost[other], 1.0)
  under, over = (single, uniform) if saves else (uniform, single)
  infeasible = bool(under.cost > budget)
  with jax.enable_x64(True):
    mixed = tuple(np.float64(x) for x in mixture(under, over, budget))
  return EomResult(
    revenue=np.nan if infeasible else mixed[0],
    cost=under.cost if infeasible else np.minimum(mixed[1], budget),
    price=np.nan,
    mix=0.0 if infeasible else mixed[2],
    not_binding=bool(over.cost <= budget),
    mixed_with_control=saves and not infeasible,
    infeasible=infeasible,
  )
