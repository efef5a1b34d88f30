import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods.simple_rivals import gradient
from obs_only import (
  KEY,
  assert_empty_batch_changes_nothing,
  assert_equal,
  assert_known_costs_teach_nothing,
  first_step,
  fitted,
  sparse_study,
)

from bidfcl_jax import methods, training
from bidfcl_jax.losses.distances import mmd
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.representation import (
  arm_weights,
  imbalance,
  normalised,
  unit_length,
)
from bidfcl_jax.methods.stages import prediction_stage
from bidfcl_jax.methods.updates import restart
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes, Samples


@pytest.fixture(scope="module")
def fit(tiny_study, tiny_config):
  study = sparse_study(tiny_study)
  config = tiny_config(
    cfr__weight=1.0, cfr__rows=64, obs__epochs=40, obs__learning_rate=1e-2
  )
  return study, functools.cache(lambda name: fitted(name, study, config))


@pytest.mark.parametrize(
  "name", [pytest.param("CFR-WASS", marks=pytest.mark.slow), "CFR-MMD"]
)
def test_arms_draw_near_each_other(name, fit):
  _, fitted_by = fit
  *_, history = fitted_by(name)
  apart = [line["imbalance"] for line in history]
  # Without a pull MMD falls to 0.7 of its beginning and WASS not at all.
  assert np.mean(apart[-5:]) < 0.55 * np.mean(apart[:5])


def test_a_step_balances_arms_and_draws_them_near(tiny_study, tiny_config):
  config = tiny_config(cfr__weight=2.0)
  method = methods.make("CFR-MMD", config)
  state = method.init(KEY, tiny_study)
  after, samples, _ = first_step(method.stages[0], state, tiny_study)
  counts = np.bincount(tiny_study.obs.arm)
  weight = (counts.mean() / counts)[samples.arm]
  network = normalised(make_target(config.network))

  @jax.jit
  @jax.grad
  def wanted(target):
    predicted = network.apply(target, samples.features)
    factual = factual_loss(predicted, samples.replace(weight=weight))
    apart = imbalance(
      network.represent(target, samples.features), samples.arm, samples.weight,
      mmd, arms=5, rows=128, least_rows=8, against="control",
    )  # fmt: skip
    return jnp.mean(weight) * factual + 2.0 * apart

  chex.assert_trees_all_close(
    gradient(after), wanted(state.target), rtol=1e-4, atol=1e-6
  )


@pytest.mark.slow
def test_an_empty_batch_changes_nothing(fit):
  study, fitted_by = fit
  method, state, _ = fitted_by("CFR-WASS")
  assert_empty_batch_changes_nothing(method.stages[0], state, study)


@pytest.mark.slow
def test_known_costs_teach_nothing(fit):
  study, fitted_by = fit
  method, state, _ = fitted_by("CFR-MMD")
  assert_known_costs_teach_nothing(method.stages[0], state, study)


@pytest.mark.slow
def test_without_the_distance_it_is_tsm_sl_to_the_bit(tiny_study, tiny_config):
  # Arms of one size have weights of 1.
  arm = np.asarray(tiny_study.obs.arm)
  size = np.bincount(arm).min()
  kept = np.sort(
    np.concatenate([np.flatnonzero(arm == j)[:size] for j in range(5)])
  )
  study = tiny_study.replace(
    obs=jax.tree.map(lambda leaf: leaf[kept], tiny_study.obs)
  )
  config = tiny_config(cfr__weight=0.0)
  method = methods.make("CFR-MMD", config)
  network = normalised(make_target(config.network))
  plain = prediction_stage(
    "obs", "obs", config.obs, network, restart(network, config.obs)
  )
  one, _ = training.fit(method, study, KEY, config)
  two, _ = training.fit(method._replace(stages=(plain,)), study, KEY, config)
  assert_equal(one.target, two.target)


def test_weights_give_each_arm_the_same_say():
  rng = np.random.default_rng(0)
  arm = np.repeat([0, 1, 3], [50, 10, 5])
  weights = arm_weights(arm, np.ones(65), 4)
  assert weights[2] == 0
  samples = Samples(np.zeros((65, 1)), arm, *rng.normal(size=(2, 65)))
  samples = jax.tree.map(jnp.asarray, samples)
  zero = jnp.zeros((65, 4))
  found = factual_loss(
    Outcomes(zero, zero), samples.replace(weight=weights[arm])
  )
  error = samples.revenue**2 + samples.cost**2
  means = [error[arm == j].mean() for j in (0, 1, 3)]
  assert found == pytest.approx(float(np.mean(means)), rel=1e-5)


def _points(sizes, dimension=3):
  rng = np.random.default_rng(0)
  arm = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
  return jnp.asarray(rng.normal(size=(len(arm), dimension)), float), arm


@pytest.mark.parametrize("against", ["control", "rest"])
def test_imbalance_is_the_mean_over_the_arms(against):
  points, arm = _points([20, 12, 15, 3])
  measure = functools.partial(
    imbalance, distance=mmd, arms=4, rows=64, least_rows=8, against=against
  )
  found = jax.jit(measure)(points, jnp.asarray(arm), jnp.ones(len(arm)))

  def mean(mask):
    return np.asarray(points)[mask].mean(axis=0)

  others = (
    [arm == 0, arm == 0] if against == "control" else [arm != 1, arm != 2]
  )
  # Arm 3 has too few rows to be compared.
  wanted = [
    ((mean(arm == j) - mean(other)) ** 2).sum()
    for j, other in zip((1, 2), others, strict=True)
  ]
  assert found == pytest.approx(np.mean(wanted), rel=1e-4)


def test_no_arm_to_compare_gives_zero_and_no_nan():
  points, arm = _points([20, 3, 2])

  @jax.jit
  @jax.value_and_grad
  def value(points, weight):
    return imbalance(
      points, jnp.asarray(arm), weight, mmd,
      arms=3, rows=8, least_rows=4, against="control",
    )  # fmt: skip

  for weight in (jnp.ones(25), jnp.zeros(25)):
    found, slope = value(points, weight)
    assert found == 0 and not slope.any()


def test_rows_of_unit_length():
  units = unit_length(jnp.asarray([[3.0, 4.0], [0.0, 0.0]]))
  np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0]], rtol=1e-6)
  slope = jax.grad(lambda x: unit_length(x).sum())(jnp.zeros((1, 2)))
  assert np.isfinite(slope).all()


@pytest.mark.parametrize(
  ("option", "value"), [("against", "all"), ("rows", 0), ("least_rows", 0)]
)
def test_options_out_of_range_are_named(option, value, tiny_config):
  with pytest.raises(ValueError, match=f"cfr.{option}="):
    methods.make("CFR-MMD", tiny_config(**{f"cfr__{option}": value}))
