import jax
import numpy as np
import pytest

from bidfcl_jax.allocation import realise, solve, solve_blocks
from bidfcl_jax.types import Outcomes


def offers(n, arms=4, seed=0, ties=False):
  rng = np.random.default_rng(seed)
  size = rng.gamma(2, 1, (n, 1))
  if ties:
    size = np.ones((n, 1))
    pull = rng.integers(1, 4, (n, 1)) / 2
  else:
    pull = rng.uniform(0.5, 3, (n, 1))
  cost = size * np.arange(arms)
  revenue = size * pull * np.sqrt(np.arange(arms))
  return Outcomes(revenue.astype(np.float32), cost.astype(np.float32))


def in_blocks(outcomes, size):
  def blocks():
    for start in range(0, len(outcomes.cost), size):
      rows = np.arange(start, min(start + size, len(outcomes.cost)))
      yield rows, outcomes.revenue[rows], outcomes.cost[rows]

  return blocks


def whole(plan, outcomes):
  rows = np.arange(len(outcomes.cost))
  return plan.arms(rows, outcomes.revenue, outcomes.cost)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("budget", [0.05, 0.7, 2.9])
def test_blocks_equal_the_solution_in_memory(budget, ties):
  outcomes, key = offers(40_000, ties=ties), jax.random.key(1)
  known = solve(outcomes, budget)
  expected = realise(known, outcomes, budget, key)
  cost = outcomes.cost.astype(np.float64)
  for size in (7_001, 40_000):
    plan = solve_blocks(
      in_blocks(outcomes, size), 40_000, 40_000 * budget, key, undecided=50
    )
    np.testing.assert_allclose(plan.price, known.price, rtol=1e-12)
    arms, under, over = whole(plan, outcomes)
    np.testing.assert_array_equal(under, known.arms)
    np.testing.assert_array_equal(over, known.arms_over)
    spend = np.take_along_axis(cost, arms[:, None], 1).mean()
    assert spend <= budget * (1 + 1e-12)
    most = np.take_along_axis(cost, expected[:, None], 1).mean()
    np.testing.assert_allclose(spend, most, atol=1e-4)
    jump = under != over
    np.testing.assert_allclose(plan.tie, (arms != under).sum() / jump.sum())


def test_fc_07_thousand_equal_people_and_money_for_half():
  outcomes = Outcomes(
    np.tile([0.0, 1.0], (1000, 1)), np.tile([0, 1.0], (1000, 1))
  )
  plan = solve_blocks(in_blocks(outcomes, 128), 1000, 500.0, jax.random.key(0))
  arms, _, _ = whole(plan, outcomes)
  assert arms.sum() == 500 and plan.tie == 0.5


def test_fc_07_budgets_outside_the_range():
  outcomes = offers(1000)
  plan = solve_blocks(in_blocks(outcomes, 300), 1000, 1e9, jax.random.key(0))
  assert plan.price == 0 and not len(plan.moved)
  dear = Outcomes(outcomes.revenue, outcomes.cost + 1)
  with pytest.raises(ValueError, match="cheapest arms cost 1 a row"):
    solve_blocks(in_blocks(dear, 300), 1000, 500.0, jax.random.key(0))
