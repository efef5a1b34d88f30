import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from bidfcl_jax.losses.distances import mmd, wasserstein

ONES = jnp.ones(200)


def normal(seed, shape=(200, 3)):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


def moved(points, by=2.0):
  return points.at[:, 0].add(by)


def test_debiased_distance_of_a_set_to_itself_is_zero():
  points = normal(0)
  assert abs(wasserstein(points, points, ONES, ONES)) < 1e-6


def test_debiased_distance_of_a_moved_set():
  points = normal(0)
  found = wasserstein(points, moved(points), ONES, ONES)
  assert found == pytest.approx(1.98, abs=0.05)


def test_public_code_is_not_zero_for_a_set_and_itself():
  points = normal(0)
  found = wasserstein(points, points, ONES, ONES, form="cfr", sweeps=10)
  assert found == pytest.approx(0.29, abs=0.02)


def log_domain(first, second, epsilon, sweeps):
  """Sinkhorn in NumPy, every sweep in the log domain."""
  cost = cdist(first, second)
  entropy = epsilon * cost.mean()
  shift = np.log(len(cost))
  left = np.zeros(len(cost))
  for _ in range(sweeps):
    right = shift - logsumexp(left[:, None] - cost / entropy, axis=0)
    left = shift - logsumexp(right - cost / entropy, axis=1)
  plan = np.exp(left[:, None] + right - cost / entropy) / len(cost) ** 2
  return (plan * cost).sum()


@pytest.mark.parametrize("epsilon", [0.03, 0.1])
def test_scaling_a_plan_equals_sweeps_in_the_log_domain(epsilon):
  first, second = normal(1, (40, 3)), normal(2, (40, 3)) + 1
  # One point far from all: exp(-C / entropy) is 0 along its row.
  first = first.at[0].set(60.0)
  ones = jnp.ones(40)
  found = wasserstein(first, second, ones, ones, epsilon=epsilon, sweeps=200)
  across, *own = (
    log_domain(a, b, epsilon, 200)
    for a, b in ((first, second), (first, first), (second, second))
  )
  assert found == pytest.approx(across - sum(own) / 2, rel=5e-3)


@pytest.mark.parametrize("form", ["debiased", "cfr"])
def test_the_gradient_pulls_the_sets_together(form):
  first = normal(0)
  second = moved(first)

  def distance(first):
    return wasserstein(first, second, ONES, ONES, form=form)

  slope = jax.grad(distance)(first)
  assert distance(first - 200 * slope) < 0.7 * distance(first)


def test_mmd_of_moved_sets():
  points, by = normal(0), jnp.asarray([1.0, -2.0, 0.5])
  found = mmd(points, points + by, ONES, ONES)
  assert found == pytest.approx(float(by @ by), rel=1e-5)


def test_rbf_is_unbiased_and_sees_spread():
  draws = [
    mmd(normal(2 * s, (20, 2)), normal(2 * s + 1, (20, 2)), jnp.ones(20),
        jnp.ones(20), kernel="rbf")
    for s in range(60)
  ]  # fmt: skip
  draws = np.asarray(jax.device_get(draws))
  assert abs(draws.mean()) < 4 * draws.std() / np.sqrt(len(draws))
  assert (draws < 0).any()
  # The means agree: a linear kernel is blind here.
  points = normal(0)
  assert mmd(points, 3 * points, ONES, ONES, kernel="rbf") > 0.05


def _all_distances():
  return [
    lambda *sets: wasserstein(*sets),
    lambda *sets: wasserstein(*sets, form="cfr"),
    lambda *sets: mmd(*sets),
    lambda *sets: mmd(*sets, kernel="rbf"),
  ]


@pytest.mark.parametrize("which", range(4))
def test_padding_counts_nothing_and_empty_sets_stay_finite(which):
  distance = jax.jit(jax.value_and_grad(_all_distances()[which]))
  first, second = normal(0, (12, 3)), normal(1, (12, 3)) + 1
  ones = jnp.ones(12)
  mask = ones.at[8:].set(0)
  wild = first.at[8:].set(100.0)
  value, slope = distance(first, second, mask, ones)
  other, slope_wild = distance(wild, second, mask, ones)
  shorter = _all_distances()[which](first[:8], second, ones[:8], ones)
  np.testing.assert_allclose(value, other, rtol=1e-4)
  np.testing.assert_allclose(value, shorter, rtol=1e-4)
  np.testing.assert_allclose(slope[:8], slope_wild[:8], atol=1e-4)
  assert not slope[8:].any()
  for case in (
    (first, second, 0 * ones, ones),
    (first, second, ones, 0 * ones),
    (first, second, 0 * ones, 0 * ones),
    (0 * first, 0 * first, ones, ones),
    (first, second, ones.at[1:].set(0), ones.at[1:].set(0)),
  ):
    value, slope = distance(*case)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_unknown_words_are_named():
  points = normal(0)
  with pytest.raises(ValueError, match="'sharp' is not one of"):
    wasserstein(points, points, ONES, ONES, form="sharp")
  with pytest.raises(ValueError, match="epsilon=0.001"):
    wasserstein(points, points, ONES, ONES, epsilon=1e-3)
  with pytest.raises(ValueError, match="'cubic' is not one of"):
    mmd(points, points, ONES, ONES, kernel="cubic")
