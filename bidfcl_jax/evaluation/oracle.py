"""What is known and not estimated: oracle EOM, the optimum, and regret.

On simulated data the expected outcomes of every arm are known, so a policy's
revenue at a budget has no sampling noise (evaluation.md). ORACLE is the
optimum: the truth used as its own prediction.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.allocation import price_for_budget, solve
from bidfcl_jax.evaluation.at_budget import (
  EomResult,
  Side,
  checked,
  checked_budget,
  on_host,
  value_at_budget,
)
from bidfcl_jax.losses.value import received
from bidfcl_jax.types import Array, Outcomes, Samples, Status


def true_value(arms: Array, truth: Outcomes) -> Side:
  """Computes the value of giving `arms` `[n]` where outcomes are known."""
  revenue = jnp.mean(received(truth.revenue, arms))
  cost = jnp.mean(received(truth.cost, arms))
  return Side(revenue, cost, jnp.ones_like(cost))


@functools.partial(jax.jit, static_argnames="exact")
def _oracle_eom(outcomes, truth, budget, exact):
  count, arms = truth.cost.shape
  # A doubly robust spend whose model is the truth, observed without error, is
  # the true spend.
  bracket = price_for_budget(
    outcomes,
    budget,
    cost="dr",
    samples=Samples(
      None, jnp.zeros(count, jnp.int32), truth.revenue[:, 0], truth.cost[:, 0]
    ),
    propensity=jnp.full(arms, 1 / arms),
    nuisance=truth,
    halvings=outcomes.revenue.dtype.itemsize * 8,
  )

  def value(arms):
    return true_value(arms, truth)

  return value_at_budget(outcomes, bracket, value, budget, exact=exact)


def checked_truth(truth: Outcomes) -> Outcomes:
  """Returns the truth as float64 NumPy; raises ValueError if it cannot be."""
  truth = checked("true", truth, len(truth.revenue))
  if (truth.cost < 0).any():
    row, arm = np.argwhere(truth.cost < 0)[0]
    raise ValueError(
      f"true cost of row {row}, arm {arm} is {truth.cost[row, arm]}; costs of "
      "a budget problem are 0 or more"
    )
  return truth


def checked_pair(
  outcomes: Outcomes, truth: Outcomes
) -> tuple[Outcomes, Outcomes]:
  """Returns predictions and truth as float64 NumPy of one shape, or raises."""
  truth = checked_truth(truth)
  outcomes = checked("predicted", outcomes, len(truth.cost))
  if outcomes.cost.shape != truth.cost.shape:
    raise ValueError(
      f"predictions have shape {outcomes.cost.shape}, the truth "
      f"{truth.cost.shape}"
    )
  return outcomes, truth


def oracle_eom(
  outcomes: Outcomes, truth: Outcomes, budget, *, exact: bool = True
) -> EomResult:
  """Computes the true revenue of predictions when their true cost is b.

  Args:
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.
    truth: true expected outcomes `[n, M]` of the same individuals.
    budget: scalar per capita, true cost.
    exact: mix both sides of the jump; else the feasible side.

  Returns:
    EomResult of NumPy scalars, computed in float64 whatever JAX's mode; its
    revenue is never above that of `oracle_policy`.

  Raises:
    ValueError: shapes that differ, a value that is not finite, or a true cost
      below 0.
  """
  budget = checked_budget(budget)
  outcomes, truth = checked_pair(outcomes, truth)
  with jax.enable_x64(True):
    result = _oracle_eom(outcomes, truth, budget, exact)
  return on_host(result)


def oracle_policy(truth: Outcomes, budget) -> EomResult:
  """Computes the optimum at a budget: the value of the linear relaxation.

  No policy, random or not, earns more on the same truth. Args and errors as of
  `oracle_eom`; a negative budget is refused. Infeasible where even everyone's
  cheapest arm over-spends.
  """
  allocation = solve(checked_truth(truth), budget)
  infeasible = bool(allocation.status == Status.INFEASIBLE)
  return EomResult(
    revenue=np.nan if infeasible else allocation.expected_revenue,
    cost=allocation.expected_cost,
    price=allocation.price,
    mix=allocation.mix,
    not_binding=bool(allocation.status == Status.NOT_BINDING),
    mixed_with_control=False,
    infeasible=infeasible,
  )


def regret(outcomes: Outcomes, truth: Outcomes, budget) -> float:
  """Returns the revenue per capita that predictions lose to the optimum."""
  best = oracle_policy(truth, budget).revenue
  return float(best - oracle_eom(outcomes, truth, budget).revenue)
