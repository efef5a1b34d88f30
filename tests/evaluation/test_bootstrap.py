import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bidfcl_jax.evaluation import (
  aucc_by_weight,
  bootstrap,
  eom,
  eom_core,
  poisson_weights,
)
from bidfcl_jax.types import Outcomes, Samples


def rows(values, group=None, weight=None):
  n = len(values)
  values = np.asarray(values, np.float32)
  return Samples(
    np.zeros((n, 1), np.float32),
    np.arange(n, dtype=np.int32) % 2,
    values,
    values,
    weight,
    group,
  )


def mean_of(values):
  values = jnp.asarray(values, jnp.float32)
  return lambda w: jnp.sum(w * values) / jnp.maximum(jnp.sum(w), 1)


def test_weights_are_poisson():
  counts = np.bincount(poisson_weights(jax.random.key(0), 200_000))
  assert len(counts) < 14
  tail = counts[5:].sum()
  expected = 200_000 * stats.poisson.pmf(np.arange(5), 1)
  observed = np.append(counts[:5], tail)
  expected = np.append(expected, 200_000 - expected.sum())
  assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_se_of_a_mean_and_of_a_ratio():
  rng = np.random.default_rng(0)
  values = rng.normal(3, 2, 2000)
  got = bootstrap(
    mean_of(values), rows(values), jax.random.key(1), replicates=800, vmapped=50
  )
  expected = values.std() / np.sqrt(2000)
  np.testing.assert_allclose(got.se, expected, rtol=0.1)
  np.testing.assert_allclose(
    (got.high - got.low) / 2, 1.96 * expected, rtol=0.1
  )
  np.testing.assert_allclose(got.estimate, values.mean(), rtol=1e-5)


def test_households_are_drawn_whole():
  rng = np.random.default_rng(0)
  homes = rng.normal(0, 1, 500)
  values = np.repeat(homes, 4)
  group = np.repeat(rng.permutation(500).astype(np.int32) * 7, 4)
  got = bootstrap(
    mean_of(values),
    rows(values, group),
    jax.random.key(1),
    replicates=800,
    vmapped=50,
  )
  np.testing.assert_allclose(got.se, homes.std() / np.sqrt(500), rtol=0.1)
  drawn = []

  def spy(w):
    drawn.append(np.asarray(w))
    return 0.0

  bootstrap(spy, rows(values, group), jax.random.key(1), replicates=2)
  for weights in drawn:
    assert (np.ptp(weights.reshape(500, 4), axis=1) == 0).all()
  assert (drawn[0] != drawn[1]).any()


def test_padding_stays_out():
  values = np.array([1.0, 2, 3, 1e9], np.float32)
  weight = np.array([1, 1, 1, 0], np.float32)
  got = bootstrap(
    mean_of(values),
    rows(values, weight=weight),
    jax.random.key(0),
    replicates=50,
  )
  assert got.high <= 3 and got.estimate == 2


def test_fc_08_interval_is_a_function_of_the_key():
  rng = np.random.default_rng(0)
  values = rng.normal(size=300)
  score = rng.random(300)
  zero = np.zeros(300)
  outcomes = Outcomes(np.stack([zero, score], 1), np.stack([zero, zero + 1], 1))
  cost = np.arange(300) % 2 + 0.01 * values
  samples = rows(values).replace(cost=cost.astype(np.float32))
  by_weight = aucc_by_weight(outcomes, samples)

  def interval(seed):
    key = jax.random.key(seed)
    got = bootstrap(lambda w: by_weight(w).area, samples, key, replicates=20)
    return got.estimate, got.low, got.high, got.se

  first = interval(0)
  np.random.seed(5)  # noqa: NPY002
  assert interval(0) == first
  other = interval(1)
  assert other[0] == first[0] and other[1:] != first[1:]


def test_vmapped_equals_the_loop_and_basic_mirrors():
  values = np.random.default_rng(0).normal(size=100)
  arguments = (mean_of(values), rows(values), jax.random.key(3))
  loop = bootstrap(*arguments, replicates=30)
  mapped = bootstrap(*arguments, replicates=30, vmapped=7)
  np.testing.assert_allclose(mapped.low, loop.low, rtol=1e-5)
  np.testing.assert_allclose(mapped.high, loop.high, rtol=1e-5)
  basic = bootstrap(*arguments, replicates=30, kind="basic")
  np.testing.assert_allclose(basic.low, 2 * loop.estimate - loop.high)
  np.testing.assert_allclose(basic.high, 2 * loop.estimate - loop.low)


def test_eom_with_counted_shares_is_a_metric():
  rng = np.random.default_rng(0)
  samples = rows(rng.random(200))
  samples = samples.replace(cost=(samples.arm * 1.0).astype(np.float32))
  outcomes = Outcomes(rng.random((200, 2)), np.tile([0.0, 1.0], (200, 1)))
  got = bootstrap(
    lambda w: eom(outcomes, samples.replace(weight=w), None, 0.4),
    samples,
    jax.random.key(0),
    replicates=10,
  )
  assert got.low < got.high and 0 < got.se < 0.2


def test_eom_core_is_mapped_over_replicates():
  rng = np.random.default_rng(0)
  samples = rows(rng.random(200))
  samples = samples.replace(cost=(samples.arm * 1.0).astype(np.float32))
  outcomes = Outcomes(
    rng.random((200, 2)).astype(np.float32),
    np.tile(np.float32([0, 1]), (200, 1)),
  )
  share = np.full(2, 0.5, np.float32)
  value = functools.partial(eom_core, outcomes)

  def core(w):
    return value(samples.replace(weight=w), share, np.float32(0.4)).revenue

  def host(w):
    return eom(outcomes, samples.replace(weight=w), share, 0.4)

  key = jax.random.key(0)
  mapped = bootstrap(core, samples, key, replicates=20, vmapped=20)
  loop = bootstrap(host, samples, key, replicates=20)
  for end in ("estimate", "low", "high", "se"):
    np.testing.assert_allclose(
      getattr(mapped, end), getattr(loop, end), rtol=1e-3, err_msg=end
    )


@pytest.mark.parametrize("kind", ["percentile", "basic"])
def test_an_undefined_replicate_is_not_dropped(kind):
  # The metric is NaN where the only earning row is not drawn.
  values = np.array([1.0, 0, 0, 0])

  def metric(w):
    return float(w[0] / w[0]) if w[0] > 0 else float("nan")

  got = bootstrap(
    metric, rows(values), jax.random.key(0), replicates=50, kind=kind
  )
  assert got.estimate == 1.0
  assert np.isnan([got.low, got.high, got.se]).all()


def test_misuse_is_refused():
  samples = rows(np.ones(4))
  metric = mean_of(np.ones(4))
  key = jax.random.key(0)
  with pytest.raises(ValueError, match="replicates=1"):
    bootstrap(metric, samples, key, replicates=1)
  with pytest.raises(ValueError, match="'bca'"):
    bootstrap(metric, samples, key, replicates=9, kind="bca")
  with pytest.raises(ValueError, match="level=95"):
    bootstrap(metric, samples, key, replicates=9, level=95)


@pytest.mark.slow
def test_coverage_of_a_self_normalised_ratio():
  rng = np.random.default_rng(0)
  covered = 0
  n = 400

  def metric(w):
    return jnp.sum(w * y * t) / jnp.maximum(jnp.sum(w * t), 1)

  for seed in range(200):
    t = (rng.random(n) < 0.4).astype(np.float32)
    y = rng.exponential(2.0, n).astype(np.float32)
    got = bootstrap(
      metric,
      rows(y),
      jax.random.key(seed),
      replicates=200,
      vmapped=200,
    )
    covered += got.low <= 2.0 <= got.high
  assert 180 <= covered <= 200


def test_several_metrics_in_one_pass_equal_each_alone():
  values = np.random.default_rng(0).normal(3, 2, 100)
  mean, key = mean_of(values), jax.random.key(1)
  both = bootstrap(
    lambda w: jnp.stack([mean(w), 2 * mean(w)]),
    rows(values),
    key,
    replicates=30,
  )
  alone = bootstrap(mean, rows(values), key, replicates=30)
  for name in ("estimate", "low", "high", "se"):
    one = getattr(alone, name)
    np.testing.assert_allclose(getattr(both, name), [one, 2 * one], rtol=1e-6)
