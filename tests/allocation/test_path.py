import numpy as np
import pytest
import reference
from problems import mean, offers

from bidfcl_jax.allocation import path, revenue_at
from bidfcl_jax.types import Outcomes


def test_path_by_hand():
  # Row 0: slopes 3 (0 -> 1) and 1 (1 -> 2). Row 1: arm 1 lies under the line
  # from arm 0 to arm 2, whose slope is 2.
  curve = path(
    Outcomes(
      np.array([[0, 3, 4.0], [0, 1, 4]]), np.array([[0, 1, 2.0], [0, 1, 2]])
    )
  )
  np.testing.assert_allclose(curve.cost, [0, 0.5, 1.5, 2])
  np.testing.assert_allclose(curve.revenue, [0, 1.5, 3.5, 4])
  np.testing.assert_allclose(curve.price, [3, 2, 1, 0])


def test_path_starts_at_the_best_of_the_cheapest_arms():
  curve = path(
    Outcomes(
      np.array([[1, 2, 0.0], [1, 0, 5]]), np.array([[1, 1, 2.0], [3, 1, 1]])
    )
  )
  assert len(curve.cost) == 1
  np.testing.assert_allclose(
    [curve.cost[0], curve.revenue[0], curve.price[0]], [1, 3.5, 0]
  )


@pytest.mark.parametrize("seed", range(4))
def test_every_budget_is_the_linear_relaxation(seed):
  rng = np.random.default_rng(seed)
  revenue, cost = rng.gamma(1, 1, (60, 5)), rng.gamma(1, 1, (60, 5))
  curve = path(Outcomes(revenue, cost))
  for budget in rng.uniform(curve.cost[0], curve.cost[-1], 6):
    np.testing.assert_allclose(
      revenue_at(curve, budget),
      reference.lp_optimum(revenue, cost, 60 * budget) / 60,
      rtol=1e-9,
    )


def test_ends_shape_and_prices():
  outcomes = offers(20_000, 5, dtype=np.float32)
  curve = path(outcomes)
  revenue, cost = (x.astype(float) for x in (outcomes.revenue, outcomes.cost))
  np.testing.assert_allclose(curve.cost[0], cost.min(axis=1).mean())
  np.testing.assert_allclose(
    curve.revenue[-1], revenue.max(axis=1).mean(), rtol=1e-12
  )
  assert (np.diff(curve.cost) > 0).all() and (np.diff(curve.revenue) > 0).all()
  assert (np.diff(curve.price) <= 0).all()
  assert all(x.dtype == np.float64 for x in (curve.cost, curve.price))
  for point in (0, 1_000, len(curve.price) - 2):
    # Between this price and the one before lies exactly this allocation.
    price = (
      1.0 + curve.price[0]
      if point == 0
      else 0.5 * (curve.price[point - 1] + curve.price[point])
    )
    arms = (revenue - price * cost).argmax(axis=1)
    np.testing.assert_allclose(mean(cost, arms), curve.cost[point], atol=1e-12)
    np.testing.assert_allclose(
      mean(revenue, arms), curve.revenue[point], rtol=1e-12
    )


def test_arm_order_does_not_matter():
  outcomes = offers(300, 4)
  order = [2, 0, 3, 1]
  turned = path(Outcomes(outcomes.revenue[:, order], outcomes.cost[:, order]))
  curve = path(outcomes)
  np.testing.assert_allclose(turned.cost, curve.cost, rtol=1e-12)
  np.testing.assert_allclose(turned.revenue, curve.revenue, rtol=1e-12)


def test_fc_06_free_equal_and_negative_cells():
  curve = path(Outcomes(np.ones((5, 3)), np.zeros((5, 3))))
  np.testing.assert_array_equal(curve.cost, [0])
  curve = path(Outcomes(np.array([[0, 1.0]]), np.array([[0, -0.1]])))
  np.testing.assert_array_equal([curve.cost, curve.revenue], [[0], [1]])
  single = path(Outcomes(np.ones((2, 1)), np.ones((2, 1))))
  np.testing.assert_array_equal(single.revenue, [1])


def test_fc_10_totals_over_many_rows():
  # 0.1 is added 400,000 times; a float32 running sum is off by over 1e-3.
  n = 400_000
  curve = path(
    Outcomes(np.tile(np.float32([0, 0.1]), (n, 1)), np.tile([0, 1.0], (n, 1)))
  )
  np.testing.assert_allclose(curve.revenue[-1], np.float32(0.1), rtol=1e-9)


def test_revenue_at_many_budgets_and_its_limits():
  curve = path(Outcomes(np.array([[0, 1.0]]), np.array([[1, 2.0]])))
  np.testing.assert_allclose(revenue_at(curve, [1, 1.5, 9]), [0, 0.5, 1])
  with pytest.raises(ValueError, match="0.5 is below 1.0"):
    revenue_at(curve, [0.5, 1.5])
  with pytest.raises(ValueError, match="nan"):
    revenue_at(curve, np.nan)
