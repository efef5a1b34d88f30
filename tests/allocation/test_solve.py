import itertools

import jax
import numpy as np
import pytest
import reference
from problems import logged, mean, offers

from bidfcl_jax.allocation import path, realise, revenue_at, solve
from bidfcl_jax.types import Outcomes, Status


def _outcomes(revenue, cost):
  return Outcomes(np.array(revenue, float), np.array(cost, float))


def _free_cost(outcomes):
  arms = outcomes.revenue.argmax(axis=1)
  return mean(outcomes.cost, arms)


def _finite(allocation):
  leaves = jax.tree.leaves(allocation)
  return all(np.isfinite(np.asarray(leaf, float)).all() for leaf in leaves)


def test_fc_06_zero_cost_arm_at_budget_zero():
  found = solve(_outcomes([[0, 1], [0, 1]], [[0, 0], [0, 1]]), 0)
  np.testing.assert_array_equal(found.arms, [1, 0])
  assert (found.cost, found.revenue) == (0, 0.5)
  assert found.status == Status.OK and _finite(found)


def test_fc_06_negative_cost_is_floored_and_counted():
  found = solve(_outcomes([[0, 1]], [[0, -0.1]]), 0)
  np.testing.assert_array_equal(found.arms, [1])
  assert (found.cost, found.floored) == (0, 1)


def test_fc_06_all_costs_zero():
  found = solve(_outcomes([[0, 2, 1], [3, 1, 2]], np.zeros((2, 3))), 0)
  np.testing.assert_array_equal(found.arms, [1, 0])
  assert found.price == 0 and found.revenue == 2.5 and _finite(found)


def test_fc_07_budget_that_does_not_bind():
  outcomes = _outcomes([[0, 1], [0, 1]], [[0, 1], [0, 3]])
  for budget, slack in ((10, 8.0), (2.0, 0.0)):
    found = solve(outcomes, budget)
    assert found.price == 0 and found.cost == 2 and found.slack == slack
    assert found.status == Status.NOT_BINDING
    assert found.gap == 0 and found.mix == 0
    np.testing.assert_array_equal(found.arms, [1, 1])


def test_fc_07_infeasible_budget_gives_the_cheapest_arms():
  found = solve(_outcomes([[0, 1], [0, 1]], [[1, 2], [1, 2]]), 0.5)
  assert found.status == Status.INFEASIBLE and found.cost == 1
  np.testing.assert_array_equal(found.arms, [0, 0])
  np.testing.assert_array_equal(found.arms_over, [0, 0])
  assert found.slack == -0.5 and _finite(found)


def test_fc_07_thousand_random_instances():
  rng = np.random.default_rng(7)
  orders = list(itertools.permutations(range(4)))
  for _ in range(1_000):
    revenue, cost = rng.gamma(1, 1, (50, 4)), rng.gamma(1, 1, (50, 4))
    least = cost.min(axis=1).mean()
    most = mean(cost, revenue.argmax(axis=1))
    budget = rng.uniform(least, most)
    found = solve(Outcomes(revenue, cost), budget)
    assert mean(cost, found.arms) <= budget
    assert found.cost == mean(cost, found.arms)
    assert found.cost_over > budget
    assert found.revenue >= mean(revenue, cost.argmin(axis=1))
    assert abs(found.expected_cost - budget) < 1e-12
    assert found.dual_bound >= found.revenue
    order = list(orders[rng.integers(len(orders))])
    turned = solve(Outcomes(revenue[:, order], cost[:, order]), budget)
    np.testing.assert_array_equal(np.array(order)[turned.arms], found.arms)
    assert abs(turned.revenue - found.revenue) < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_feasible_side_and_mixture_against_milp(seed):
  rng = np.random.default_rng(seed)
  revenue, cost = rng.gamma(1, 1, (12, 4)), rng.gamma(1, 1, (12, 4))
  cost[:, 0] = 0
  budget = 0.4 * mean(cost, revenue.argmax(axis=1))
  found = solve(Outcomes(revenue, cost), budget)
  exact = reference.milp_optimum(revenue, cost, budget * 12) / 12
  assert exact - revenue.max() / 12 <= found.revenue <= exact + 1e-9
  assert found.expected_revenue >= exact - 1e-9
  assert found.dual_bound >= exact - 1e-9


def test_milp_reference_against_enumeration():
  rng = np.random.default_rng(3)
  revenue, cost = rng.gamma(1, 1, (5, 3)), rng.gamma(1, 1, (5, 3))
  total = 0.5 * (cost.min(axis=1).sum() + cost.max(axis=1).sum())
  enumerated = reference.enumerated_optimum(revenue, cost, total)
  np.testing.assert_allclose(
    reference.milp_optimum(revenue, cost, total), enumerated
  )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_mixture_is_the_linear_relaxation(share):
  outcomes = offers(400, 5)
  budget = share * _free_cost(outcomes)
  found = solve(outcomes, budget)
  exact = reference.lp_optimum(outcomes.revenue, outcomes.cost, budget * 400)
  np.testing.assert_allclose(found.expected_revenue, exact / 400, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fc_10_large_problem_is_within_budget_in_float64(dtype):
  outcomes = offers(200_000, 5, dtype=dtype)
  budget = 0.4 * _free_cost(outcomes)
  found = solve(outcomes, budget)
  assert mean(outcomes.cost, found.arms) <= budget < found.cost_over
  assert mean(outcomes.cost, found.arms) == found.cost
  assert 0 <= found.gap < 1e-5 * found.revenue
  bound = found.price * budget
  scores = outcomes.revenue.astype(float) - found.price * outcomes.cost
  bound += scores.max(axis=1).mean()
  np.testing.assert_allclose(found.dual_bound, bound, rtol=1e-12)
  np.testing.assert_allclose(
    found.expected_revenue, revenue_at(path(outcomes), budget), rtol=1e-9
  )


@pytest.mark.parametrize("share", [1e-5, 0.4, 1 - 1e-6, 1.0, 3.0])
def test_sampled_bracket_that_misses_is_mended(share):
  # The strided sample sees only dear people, so its price is far off.
  outcomes = offers(140_000, 3)
  outcomes.cost[::5] *= 1_000
  budget = share * _free_cost(outcomes)
  found = solve(outcomes, budget)
  np.testing.assert_allclose(
    found.expected_revenue, revenue_at(path(outcomes), budget), rtol=1e-9
  )
  assert found.cost <= budget


def test_budget_equal_to_an_allocations_cost_is_spent():
  # Sums of 0.1 round; the spend that equals the budget must count as within.
  outcomes = _outcomes(np.outer(np.arange(1, 101), [0, 1]), [[0, 0.1]] * 100)
  budget = mean(outcomes.cost, (np.arange(100) >= 40).astype(int))
  found = solve(outcomes, budget)
  assert found.arms.sum() == 60 and found.slack == 0


def test_fc_06_equal_individuals_jump_together_and_realise_splits_them():
  n = 1_000
  outcomes = _outcomes([[0, 1]] * n, [[0, 0.1]] * n)
  found = solve(outcomes, 0.05)
  assert found.arms.sum() == 0 and found.arms_over.sum() == n
  np.testing.assert_allclose(found.mix, 0.5)
  arms = realise(found, outcomes, 0.05, jax.random.key(0))
  assert arms.sum() == 500


def test_allowed_arms_only():
  outcomes = offers(300, 4)
  allowed = np.random.default_rng(0).random((300, 4)) < 0.6
  allowed[np.arange(300), np.arange(300) % 4] = True
  cheapest = np.where(allowed, outcomes.cost, np.inf).min(axis=1).mean()
  budget = 0.5 * (cheapest + _free_cost(outcomes))
  for b in (budget, 10.0, cheapest / 2):
    found = solve(outcomes, b, allowed=allowed)
    rows = np.arange(300)
    assert allowed[rows, found.arms].all()
    assert allowed[rows, found.arms_over].all()
  assert found.status == Status.INFEASIBLE
  assert found.cost == pytest.approx(cheapest)
  found = solve(outcomes, budget, allowed=allowed)
  revenue = np.where(allowed, outcomes.revenue, -100)
  exact = reference.lp_optimum(revenue, outcomes.cost, budget * 300) / 300
  np.testing.assert_allclose(found.expected_revenue, exact, rtol=1e-9)


@pytest.mark.parametrize("cost", ["ipw", "dr"])
def test_estimated_spend_is_within_budget(cost):
  outcomes, samples, share = logged(3_000, 4)
  nuisance = offers(3_000, 4, 1) if cost == "dr" else None
  found = solve(
    outcomes,
    0.03,
    cost=cost,
    samples=samples,
    propensity=share,
    nuisance=nuisance,
  )
  arms = found.arms
  matched = (samples.arm == arms) / share.astype(float)[samples.arm] / 3_000
  if cost == "ipw":
    spend = (matched * samples.cost).sum()
    value = (matched * samples.revenue).sum()
    np.testing.assert_allclose(found.revenue, value, rtol=1e-9)
  else:
    rows = np.arange(3_000)
    modelled = nuisance.cost[rows, samples.arm]
    spend = mean(nuisance.cost, arms)
    spend += (matched * (samples.cost - modelled)).sum()
  np.testing.assert_allclose(found.cost, spend, rtol=1e-9)
  assert found.cost <= 0.03 < found.cost_over
  np.testing.assert_allclose(found.expected_cost, 0.03, rtol=1e-12)
  assert found.status == Status.OK


def test_estimated_spend_that_cannot_be_met():
  outcomes, samples, share = logged(500, 3)
  samples = samples.replace(cost=samples.cost + 1)
  ask = dict(cost="ipw", samples=samples, propensity=share)
  found = solve(outcomes, 0.2, **ask)
  assert found.status == Status.INFEASIBLE and found.slack < 0
  np.testing.assert_array_equal(found.arms, outcomes.cost.argmin(axis=1))


def test_host_solve_is_the_same_in_float64_mode():
  outcomes = offers(500, 4, dtype=np.float32)
  narrow = solve(outcomes, 0.02)
  with jax.enable_x64(True):
    wide = solve(outcomes, 0.02)
  np.testing.assert_array_equal(narrow.arms, wide.arms)
  assert narrow.price == wide.price


@pytest.mark.parametrize(
  ("outcomes", "budget", "extra", "message"),
  [
    (offers(9, 3), -1.0, {}, "budget is -1.0"),
    (offers(9, 3), np.nan, {}, "budget is nan"),
    (offers(9, 3), [1.0, 2.0], {}, "one finite amount"),
    (offers(9, 3), 1.0, dict(cost="snipw"), "'snipw' is not one of"),
    (offers(9, 3), 1.0, dict(cost="ipw"), "needs samples"),
    (
      Outcomes(np.ones((4, 3)), np.ones((4, 2))),
      1.0,
      {},
      r"\(4, 3\) and cost \(4, 2\)",
    ),
    (
      _outcomes([[0, 1], [0, 1]], [[0, 1], [0, np.nan]]),
      1.0,
      {},
      "cost of row 1, arm 1 is nan",
    ),
    (
      offers(9, 3),
      1.0,
      dict(allowed=np.arange(9)[:, None] != np.array([[4, 4, 4]])),
      "row 4 has no allowed arm",
    ),
    (
      offers(9, 3),
      1.0,
      dict(allowed=np.ones((9, 2), bool)),
      r"\(9, 2\).*\(9, 3\)",
    ),
  ],
)
def test_misuse_is_refused(outcomes, budget, extra, message):
  with pytest.raises(ValueError, match=message):
    solve(outcomes, budget, **extra)
