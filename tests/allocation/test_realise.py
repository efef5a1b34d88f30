import jax
import numpy as np
import pytest
from problems import mean, offers

from bidfcl_jax.allocation import realise, solve
from bidfcl_jax.types import Outcomes


def _alike(n, gain=1.0, cost=1.0):
  return Outcomes(np.tile([0, gain], (n, 1)), np.tile([0, cost], (n, 1)))


@pytest.mark.parametrize("cost", [1.0, 0.1, 0.3])
def test_fc_07_half_of_equal_people_are_treated(cost):
  outcomes = _alike(1_000, cost=cost)
  budget = 0.5 * cost
  found = solve(outcomes, budget)
  arms = realise(found, outcomes, budget, jax.random.key(3))
  assert arms.sum() == 500 and arms.dtype == np.int32
  assert mean(outcomes.cost, arms) <= budget


def test_the_key_decides_among_equals():
  outcomes = _alike(1_000)
  found = solve(outcomes, 0.5)
  draw = [realise(found, outcomes, 0.5, jax.random.key(k)) for k in (0, 0, 1)]
  np.testing.assert_array_equal(draw[0], draw[1])
  assert (draw[0] != draw[2]).sum() > 100
  # A random half, not the first one.
  assert 200 < draw[0][:500].sum() < 300


def test_best_slope_moves_first():
  outcomes = Outcomes(
    np.array([[0, 2.0], [0, 3], [0, 1]]), np.array([[0, 1.0]] * 3)
  )
  found = solve(outcomes, 0)
  wide = found.replace(
    arms=np.zeros(3, np.int32), arms_over=np.ones(3, np.int32)
  )
  for budget, arms in ((0.34, [0, 1, 0]), (0.67, [1, 1, 0]), (1, [1, 1, 1])):
    moved = realise(wide, outcomes, budget, jax.random.key(0))
    np.testing.assert_array_equal(moved, arms)


@pytest.mark.parametrize("seed", range(5))
def test_never_overspends_and_never_loses_revenue(seed):
  base = offers(50, 4, seed)
  # Ten copies of everyone: ten people at every jump.
  outcomes = Outcomes(
    np.tile(base.revenue, (10, 1)), np.tile(base.cost, (10, 1))
  )
  budget = 0.37 * mean(outcomes.cost, outcomes.revenue.argmax(axis=1))
  found = solve(outcomes, budget)
  assert (found.arms != found.arms_over).sum() % 10 == 0
  arms = realise(found, outcomes, budget, jax.random.key(seed))
  assert found.cost <= mean(outcomes.cost, arms) <= budget
  assert mean(outcomes.revenue, arms) >= found.revenue
  step = (
    outcomes.cost[np.arange(500), found.arms_over]
    - outcomes.cost[np.arange(500), found.arms]
  ).max()
  assert budget - mean(outcomes.cost, arms) < step / 500


def test_infeasible_and_not_binding_stay_as_they_are():
  outcomes = Outcomes(np.array([[0, 1.0]] * 4), np.array([[1, 2.0]] * 4))
  for budget in (0.5, 3.0):
    found = solve(outcomes, budget)
    arms = realise(found, outcomes, budget, jax.random.key(0))
    np.testing.assert_array_equal(arms, found.arms)


def test_other_rows_are_refused():
  found = solve(offers(9, 3), 0.01)
  with pytest.raises(ValueError, match=r"\(9,\) arms but outcomes \(8, 3\)"):
    realise(found, offers(8, 3), 0.01, jax.random.key(0))
