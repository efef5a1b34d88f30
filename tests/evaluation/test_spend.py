import jax
import numpy as np
import pytest

from bidfcl_jax.evaluation import (
  PriceCurve,
  price_curve,
  price_of_budget,
  priced_mixture,
  rct_spend,
)
from bidfcl_jax.types import Outcomes, Samples


def trial(rows=4000, arms=3, seed=0, bias=1.0):
  """Predictions whose order is right and whose costs are off by a factor."""
  rng = np.random.default_rng(seed)
  size = rng.gamma(2, 1, (rows, 1))
  cost = size * np.arange(arms)
  revenue = size * rng.uniform(0.5, 3, (rows, 1)) * np.sqrt(np.arange(arms))
  arm = rng.integers(arms, size=rows).astype(np.int32)
  paid = cost[np.arange(rows), arm] * rng.uniform(0, 2, rows)
  samples = Samples(np.zeros((rows, 1)), arm, np.zeros(rows), paid)
  return Outcomes(revenue, bias * cost), samples, cost


def test_curve_never_rises_and_knows_the_real_money():
  outcomes, samples, cost = trial(rows=40_000, bias=0.5)
  curve = price_curve(outcomes, samples)
  assert np.all(np.diff(curve.price) > 0) and np.all(np.diff(curve.spend) <= 0)
  price = price_of_budget(curve, 1.0)
  arms = np.argmax(outcomes.score(price), axis=1)
  true = cost[np.arange(len(arms)), arms].mean()
  # Predicted costs are half the real ones: by them the spend would be 2.
  np.testing.assert_allclose(true, 1.0, rtol=0.04)


def test_interpolation_and_the_greatest_price_of_a_level_part():
  curve = PriceCurve(
    np.array([0.0, 1.0, 2.0, 4.0]), np.array([3.0, 2.0, 2.0, 1.0])
  )
  assert price_of_budget(curve, 2.5) == 0.5
  assert price_of_budget(curve, 2.0) == 2.0
  assert price_of_budget(curve, 1.5) == 3.0
  assert price_of_budget(curve, 1.0) == 4.0
  assert price_of_budget(curve, 3.0) == 0.0
  assert price_of_budget(curve, 9.0) == 0.0


@pytest.mark.parametrize("budget", [0.9, float("nan")])
def test_budget_below_the_curve_is_refused_with_its_least_spend(budget):
  curve = PriceCurve(np.array([0.0, 4.0]), np.array([3.0, 1.0]))
  with pytest.raises(ValueError, match=r"below 1.*--price_from=model"):
    price_of_budget(curve, budget)


def test_fc_09_spend_is_the_counted_mean_and_its_interval_is_of_groups():
  outcomes, samples, _ = trial(rows=500)
  price = 1.1
  arms = np.argmax(outcomes.score(price), axis=1)
  shares = np.bincount(samples.arm) / 500
  hit = samples.arm == arms
  expected = (hit * samples.cost / shares[samples.arm]).mean()
  key = jax.random.key(3)
  got = rct_spend(outcomes, samples, price, key, replicates=60)
  np.testing.assert_allclose(got.estimate, expected, rtol=1e-12)
  assert got.low < expected < got.high
  again = rct_spend(outcomes, samples, price, key, replicates=60)
  assert (got.low, got.high) == (again.low, again.high)
  pairs = samples.replace(group=np.arange(500, dtype=np.int32) // 20)
  wider = rct_spend(outcomes, pairs, price, key, replicates=60)
  assert wider.se != got.se


def test_declared_shares_serve_a_part_that_lacks_an_arm():
  outcomes, samples, _ = trial(rows=300)
  lacks = samples.replace(arm=np.minimum(samples.arm, 1))
  with pytest.raises(ValueError, match="no randomised row of arm 2"):
    price_curve(outcomes, lacks)
  curve = price_curve(outcomes, lacks, [0.3, 0.4, 0.3])
  assert np.all(np.diff(curve.spend) <= 0)


def test_a_budget_below_every_price_is_mixed_with_the_control():
  curve = PriceCurve(np.array([0.0, 4.0]), np.array([3.0, 1.0]))
  price, share = priced_mixture(curve, 0.2, 0.6)
  assert price == 4.0
  assert (1 - share) * 1.0 + share * 0.2 == pytest.approx(0.6)
  assert priced_mixture(curve, 0.2, 0.2) == (4.0, pytest.approx(1.0))
  # A price that meets the budget needs no mixture.
  assert priced_mixture(curve, 0.2, 2.0) == (price_of_budget(curve, 2.0), 0.0)
  for control, budget in ((0.7, 0.6), (0.2, float("nan"))):
    with pytest.raises(ValueError, match="below 1"):
      priced_mixture(curve, control, budget)
