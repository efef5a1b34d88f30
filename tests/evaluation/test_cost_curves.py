import numpy as np
import pytest
import reference

from bidfcl_jax.evaluation import (
  area_under_curve,
  cost_curve,
  oracle_eom,
  oracle_policy,
  true_cost_curve,
)
from bidfcl_jax.types import Curve, Outcomes, Samples


def trial(n=400, arms=3, seed=0):
  rng = np.random.default_rng(seed)
  arm = rng.permutation(np.arange(n) % arms).astype(np.int32)
  effect = rng.exponential(1.0, (n, 1)) * np.sqrt(np.arange(arms))
  spend = rng.uniform(0.5, 2, (n, 1)) * np.arange(arms)
  i = np.arange(n)
  samples = Samples(
    np.zeros((n, 1), np.float32),
    arm,
    (1 + effect[i, arm]).astype(np.float32),
    spend[i, arm].astype(np.float32),
  )
  return Outcomes(1 + effect, spend), samples, rng


def test_points_are_the_values_of_their_prices():
  outcomes, samples, _ = trial()
  share = np.bincount(samples.arm) / 400
  curve = cost_curve(outcomes, samples, None)
  assert curve.price[0] == np.inf and curve.price[-1] == 0
  assert (np.diff(curve.price) < 0).all()
  assert 150 < len(curve.price) <= 200
  for k in (0, 1, 40, 90, len(curve.price) - 1):
    # 1e9 stands for infinity; a shade above a price settles the tie.
    price = min(curve.price[k], 1e9) * (1 + 1e-9)
    arms = reference.best_arms(outcomes.revenue, outcomes.cost, price)
    revenue, cost, _ = reference.value_loop(arms, samples, share)
    np.testing.assert_allclose(
      (curve.revenue[k], curve.cost[k]), (revenue, cost), rtol=1e-9
    )


def test_few_distinct_points_and_all_control_first():
  arm = np.array([0, 1, 0, 1], np.int32)
  y = np.array([1.0, 3, 1, 3], np.float32)
  samples = Samples(np.zeros((4, 1), np.float32), arm, y, y - 1)
  one = Outcomes(np.tile([0.0, 1], (4, 1)), np.tile([0.0, 1], (4, 1)))
  curve = cost_curve(one, samples, None)
  np.testing.assert_allclose(curve.cost, [0, 2])
  np.testing.assert_allclose(curve.revenue, [1, 3])
  assert area_under_curve(curve) == 0.5
  # Costs that rank nothing still start at all-control.
  useless = Outcomes(one.revenue, np.zeros((4, 2)))
  np.testing.assert_allclose(cost_curve(useless, samples, None).cost, [0, 2])


def test_padding_and_order_are_immaterial():
  outcomes, samples, rng = trial()
  first = cost_curve(outcomes, samples, None)
  p = rng.permutation(400)
  again = cost_curve(
    Outcomes(outcomes.revenue[p], outcomes.cost[p]),
    Samples(
      *(
        y[p]
        for y in (samples.features, samples.arm, samples.revenue, samples.cost)
      )
    ),
    None,
  )
  np.testing.assert_allclose(
    area_under_curve(again), area_under_curve(first), rtol=1e-3
  )
  wide = Outcomes(
    np.concatenate([outcomes.revenue, 1e6 * outcomes.revenue[:9]]),
    np.concatenate([outcomes.cost, outcomes.cost[:9]]),
  )
  padded = Samples(
    np.zeros((409, 1), np.float32),
    np.append(samples.arm, samples.arm[:9]),
    np.append(samples.revenue, samples.revenue[:9]),
    np.append(samples.cost, samples.cost[:9]),
    np.append(np.ones(400), np.zeros(9)).astype(np.float32),
  )
  same = cost_curve(wide, padded, None)
  np.testing.assert_allclose(same.cost, first.cost, rtol=1e-9)
  np.testing.assert_allclose(same.revenue, first.revenue, rtol=1e-9)


def test_area_by_hand_and_undefined():
  price = np.zeros(3)
  curve = Curve(np.array([1.0, 2, 5]), np.array([3.0, 6, 7]), price)
  # From (0, 0) over (1/4, 3/4) to (1, 1).
  np.testing.assert_allclose(
    area_under_curve(curve), 0.25 * 0.375 + 0.75 * 0.875
  )
  flat = Curve(np.ones(3), np.arange(3.0), price)
  assert np.isnan(area_under_curve(flat))
  level = Curve(np.arange(3.0), np.ones(3), price)
  assert np.isnan(area_under_curve(level))


def test_good_predictions_have_more_area_than_noise():
  outcomes, samples, rng = trial(n=3000)
  noise = Outcomes(
    1 + rng.exponential(1.0, (3000, 1)) * np.sqrt(np.arange(3)), outcomes.cost
  )
  good = area_under_curve(cost_curve(outcomes, samples, None))
  assert good > area_under_curve(cost_curve(noise, samples, None)) + 0.05


def test_true_points_are_the_true_values_of_their_prices():
  truth, _, rng = trial()
  noisy = Outcomes(
    truth.revenue * rng.uniform(0.5, 2, truth.revenue.shape), truth.cost
  )
  curve = true_cost_curve(noisy, truth)
  assert curve.price[0] == np.inf and curve.price[-1] == 0
  assert (np.diff(curve.price) < 0).all()
  people = np.arange(400)
  for k in (0, 1, 40, 90, len(curve.price) - 1):
    # A price is where one individual is of two minds: rounding decides.
    sides = []
    for shade in (1 - 1e-9, 1 + 1e-9):
      price = min(curve.price[k], 1e9) * shade
      arms = reference.best_arms(noisy.revenue, noisy.cost, price)
      true = truth.revenue[people, arms], truth.cost[people, arms]
      sides.append(np.mean(true, axis=1))
    point = curve.revenue[k], curve.cost[k]
    assert any(np.allclose(point, side, rtol=1e-12) for side in sides), k


def test_true_curve_of_the_truth_is_the_optimum():
  truth, _, rng = trial(n=200)
  best = true_cost_curve(truth, truth)
  noise = Outcomes(
    1 + rng.exponential(1.0, (200, 1)) * np.sqrt(np.arange(3)), truth.cost
  )
  worse = true_cost_curve(noise, truth)
  for k in range(0, len(best.cost), 20):
    optimum = oracle_policy(truth, best.cost[k]).revenue
    np.testing.assert_allclose(best.revenue[k], optimum, rtol=1e-9)
  for k in range(0, len(worse.cost), 20):
    optimum = oracle_policy(truth, worse.cost[k]).revenue
    assert worse.revenue[k] <= optimum + 1e-9
  # The curve passes through the oracle EOM of each budget between its points.
  budget = (worse.cost[60] + worse.cost[61]) / 2
  value = oracle_eom(noise, truth, budget).revenue
  np.testing.assert_allclose(
    np.interp(budget, worse.cost, worse.revenue), value, rtol=1e-2
  )
  assert area_under_curve(best) > area_under_curve(worse)


def test_misuse_is_refused():
  outcomes, samples, _ = trial(n=12)
  with pytest.raises(ValueError, match="points=1"):
    true_cost_curve(outcomes, outcomes, points=1)
  with pytest.raises(ValueError, match=r"\(12, 2\), the truth \(12, 3\)"):
    two = Outcomes(outcomes.revenue[:, :2], outcomes.cost[:, :2])
    true_cost_curve(two, outcomes)
  with pytest.raises(ValueError, match="points=1"):
    cost_curve(outcomes, samples, None, points=1)
