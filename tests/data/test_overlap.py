import jax
import numpy as np
import pytest
from scipy.special import softmax

from bidfcl_jax.data.overlap import (
  effective_size,
  fit_propensity,
  overlap,
  summarise_overlap,
)
from bidfcl_jax.types import Samples


def logged(n, slope, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((n, 2))
  e = softmax(np.outer(x[:, 0], slope), axis=1)
  arm = (rng.random((n, 1)) > np.cumsum(e, axis=1)[:, :-1]).sum(axis=1)
  return Samples.create(x, arm, np.zeros(n), np.zeros(n)), e


def test_effective_size_of_known_weights():
  assert effective_size(np.full(7, 3.0)) == pytest.approx(7)
  assert effective_size([1, 1, 2]) == pytest.approx(16 / 6)
  assert effective_size([1e200, 1e200]) == pytest.approx(2)
  assert effective_size([]) == 0


def test_summary_reads_propensities_by_arm():
  e = np.array([[0.5, 0.5], [0.96, 0.04], [0.995, 0.005], [0.2, 0.8]])
  found = summarise_overlap(e, np.array([0, 1, 0, 1]))
  np.testing.assert_allclose(found.smallest, [0.2, 0.005])
  np.testing.assert_allclose(found.below[0.01], [0, 0.25])
  np.testing.assert_allclose(found.below[0.05], [0, 0.5])
  np.testing.assert_array_equal(found.rows, [2, 2])
  w = 1 / np.array([[0.5, 0.995], [0.04, 0.8]])
  np.testing.assert_allclose(
    found.effective, w.sum(axis=1) ** 2 / (w**2).sum(axis=1)
  )


def test_cross_fitted_propensities_are_near_the_truth():
  samples, e = logged(4000, [0.0, 0.7, -1.0])
  found = overlap(samples, 3, jax.random.key(0))
  assert np.abs(found.propensity - e).mean() < 0.02
  np.testing.assert_allclose(found.propensity.sum(axis=1), 1)
  again = overlap(samples, 3, jax.random.key(0))
  np.testing.assert_array_equal(found.propensity, again.propensity)
  few = overlap(samples, 3, jax.random.key(0), max_rows=500)
  assert len(few.arm) == few.rows.sum() == 500


def test_a_row_does_not_decide_its_own_propensity():
  # Forty features of noise: fitted and read on the same 80 rows, the arm
  # that was received would look likely.
  rng = np.random.default_rng(3)
  x, arm = rng.standard_normal((80, 40)), rng.integers(0, 2, 80)
  samples = Samples.create(x, arm, np.zeros(80), np.zeros(80))
  found = overlap(samples, 2, jax.random.key(1))
  assert found.propensity[np.arange(80), arm].mean() < 0.65


def test_separable_and_empty_arms_stay_finite():
  x = np.linspace(-1, 1, 50)[:, None]
  intercept, slope = fit_propensity(x, (x[:, 0] > 0).astype(int), 3)
  assert np.isfinite(intercept).all() and np.isfinite(slope).all()
  e = softmax(x @ slope + intercept, axis=1)
  assert e[0, 0] > 0.95 and e[-1, 1] > 0.95
  assert (e[:, 2] < 0.05).all()
