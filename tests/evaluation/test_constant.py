import numpy as np
import pytest

from bidfcl_jax.evaluation import arm_means, constant_policies, oracle_policy
from bidfcl_jax.types import Outcomes, Samples

# Mean revenue 0, 6, 7, 10 at mean cost 0, 1, 2, 3 (arm 2 is off the hull).
REVENUE, COST = np.array([0.0, 6, 7, 10]), np.array([0.0, 1, 2, 3])


def truth():
  rng = np.random.default_rng(0)
  spread = rng.uniform(0.5, 1.5, (50, 1))
  spread /= spread.mean()
  return Outcomes(spread * REVENUE, spread * COST)


@pytest.mark.parametrize(
  ("budget", "best", "random"),
  [
    (0.0, 0.0, 0.0),
    (0.5, 3.0, 5.75 / 3),  # a third of uniform (5.75 at 1.5), else control
    (1.5, 7.0, 5.75),
    (2.25, 8.5, 7.875),  # half uniform, half the dearest
    (9.0, 10.0, 10.0),
  ],
)
def test_values_by_hand_on_the_truth(budget, best, random):
  got = constant_policies(truth(), budget)
  np.testing.assert_allclose(got.best_arm.revenue, best, rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(got.random.revenue, random, rtol=1e-9, atol=1e-12)
  for row in got:
    np.testing.assert_allclose(row.cost, min(budget, 3.0), atol=1e-12)
    assert row.cost <= budget
    assert row.not_binding == (budget == 9.0)
    assert row.revenue <= oracle_policy(truth(), budget).revenue + 1e-9


def test_samples_use_arm_means_and_weights():
  arm = np.repeat([0, 1, 2, 3], [10, 20, 30, 41]).astype(np.int32)
  weight = np.ones(101, np.float32)
  weight[-1] = 0
  samples = Samples(
    np.zeros((101, 1), np.float32),
    arm,
    REVENUE[arm].astype(np.float32),
    COST[arm].astype(np.float32),
    weight,
  )
  means = arm_means(samples, arms=4)
  np.testing.assert_allclose(means.revenue, REVENUE[None], rtol=1e-12)
  np.testing.assert_allclose(means.cost, COST[None], rtol=1e-12)
  on_rows = constant_policies(samples, 2.25, arms=4)
  on_truth = constant_policies(truth(), 2.25)
  for a, b in zip(on_rows, on_truth, strict=True):
    np.testing.assert_allclose(a[:2], b[:2], rtol=1e-9)
  declared = arm_means(samples, propensity=np.full(4, 0.25))
  np.testing.assert_allclose(
    declared.revenue[0], REVENUE * [0.4, 0.8, 1.2, 1.6], rtol=1e-12
  )
  with pytest.raises(ValueError, match="arms=M"):
    constant_policies(samples, 1.0)


def test_fc_10_mean_over_twenty_million_rows():
  # NumPy's float32 mean along the first axis ends at 0.839.
  ones = np.ones((20_000_000, 2), np.float32)
  means = arm_means(Outcomes(ones, ones))
  np.testing.assert_allclose(means.revenue, [[1, 1]], rtol=1e-6)
  np.testing.assert_allclose(means.cost, [[1, 1]], rtol=1e-6)


def test_infeasible():
  dear = Outcomes(np.tile(REVENUE, (5, 1)), np.tile(COST + 1, (5, 1)))
  got = constant_policies(dear, 0.5)
  assert got.random.infeasible and got.best_arm.infeasible
  assert np.isnan(got.random.revenue) and np.isnan(got.best_arm.revenue)
