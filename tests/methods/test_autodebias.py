"""AutoDebias: members of its family, the meta gradient, the delay."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from paired import (
  KEY,
  central_differences,
  doubled,
  emptied,
  entered,
  with_costs,
)

from bidfcl_jax import methods, training
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.methods.autodebias import (
  Debiasing,
  debias,
  debiased_loss,
  init_meta,
)
from bidfcl_jax.methods.meta_step import meta_gradient
from bidfcl_jax.methods.method import study_scale, to_scaled
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes, Samples

NAME = "AutoDebias"


@pytest.fixture(scope="module")
def ready(tiny_study, tiny_config):
  """Returns state, aux, block and the jitted step with aux inside."""
  config = tiny_config(debias__delay=20)
  stage, state, aux, block = entered(NAME, tiny_study, config)
  step = jax.jit(stage.step)
  # Past the delay, so that all of phi may move.
  late = state.replace(step=jnp.asarray(5, jnp.int32))
  return late, aux, block, lambda state, block: step(KEY, state, block, aux)


@pytest.mark.slow
def test_it_trains_and_predicts(tiny_study, tiny_config):
  config = tiny_config(obs__epochs=1)
  method = methods.make(NAME, config)
  state, _ = training.fit(method, tiny_study, KEY, config)
  predicted = method.predict(state, tiny_study.rct_test.features)
  assert predicted.revenue.shape == (200, tiny_study.arms)
  assert np.isfinite(predicted.revenue).all()
  assert np.isfinite(predicted.cost).all()
  assert state.step == 5


def test_without_imputation_and_at_weight_1_it_is_tsm_sl_on_obs(
  tiny_study, tiny_config
):
  config = tiny_config(
    debias__imputation_weight=0.0,
    debias__auto_learning_rates=(0.0, 0.0, 0.0),
  )
  stage, state, aux, block = entered(NAME, tiny_study, config)
  plain = methods.make("TSM-SL-OBS", config).stages[0]
  new, _ = jax.jit(stage.step)(KEY, state, block, aux)
  other, _ = jax.jit(plain.step)(
    KEY, state, block, plain.fixed(state, tiny_study)
  )
  chex.assert_trees_all_close(new.target, other.target, rtol=1e-5, atol=1e-7)
  chex.assert_trees_all_equal(new.meta, state.meta)


def test_ips_and_dr_are_members():
  keys = jax.random.split(KEY, 5)
  n, arms = 40, 3
  predicted, imputed = (
    Outcomes(*jax.random.normal(key, (2, n, arms))) for key in keys[:2]
  )
  samples = Samples(
    jnp.zeros((n, 1)),
    jax.random.randint(keys[2], (n,), 0, arms),
    *jax.random.normal(keys[3], (2, n)),
    jnp.arange(n) > 4.0,
  )
  samples = samples.replace(weight=samples.weight.astype(float))
  v = 1 + jax.random.uniform(keys[4], (n,))
  own = jax.nn.one_hot(samples.arm, arms)
  for learn_cost in (True, False):
    ips = debiased_loss(
      predicted, samples, Debiasing(v, 0 * own, imputed),
      imputation_weight=1.0, learn_cost=learn_cost,
    )  # fmt: skip
    expected = reweighted_loss(
      predicted, samples, v, normalise="plain", learn_cost=learn_cost
    )
    np.testing.assert_allclose(ips, expected, rtol=1e-5)
    robust = debiased_loss(
      predicted, samples, Debiasing(v, 1 - own * v[:, None], imputed),
      imputation_weight=1.0, learn_cost=learn_cost,
    )  # fmt: skip
    expected = doubly_robust_loss(
      predicted, imputed, samples, v, learn_cost=learn_cost
    )
    np.testing.assert_allclose(robust, expected, rtol=1e-5)


def test_meta_gradient_against_central_differences(tiny_study, tiny_config):
  with jax.enable_x64(True):
    config = tiny_config(network__hidden=(3,))
    _, state, _, block = entered(NAME, tiny_study, config)
    state, block = doubled((state, block))
    samples, rct = (
      to_scaled(jax.tree.map(lambda x: x[0], rows), state.scale)
      for rows in (block.samples, block.rct)
    )
    # Off the start, where weights are all 1.
    flat, back = ravel_pytree(state.meta)
    meta = back(flat + 0.2 * jax.random.normal(KEY, flat.shape))
    network, eta = make_target(config.network), 0.1

    def lower(theta, meta):
      return debiased_loss(
        network.apply(theta, samples.features),
        samples,
        debias(meta, samples),
        imputation_weight=0.5,
      )

    def upper(theta):
      return factual_loss(network.apply(theta, rct.features), rct)

    def through(meta):
      slope = jax.grad(lower)(state.target, meta)
      theta = jax.tree.map(lambda t, s: t - eta * s, state.target, slope)
      return upper(theta)

    gradient, accepted = jax.jit(
      lambda meta: meta_gradient(
        lower, upper, state.target, meta, step_size=eta
      )
    )(meta)
    assert accepted
    for leaf in jax.tree.leaves(gradient):
      assert np.any(leaf)
    expected = central_differences(through, meta)
    error = np.linalg.norm(ravel_pytree(gradient)[0] - expected)
    assert error < 1e-5 * np.linalg.norm(expected)


def test_it_begins_at_weight_1_and_the_arm_means(tiny_study):
  scale = study_scale(tiny_study)
  rct = tiny_study.rct_train
  by = debias(init_meta(tiny_study, scale), to_scaled(tiny_study.obs, scale))
  np.testing.assert_array_equal(by.row, 1)
  np.testing.assert_array_equal(by.cell, 1)
  for arm in range(tiny_study.arms):
    mean = rct.revenue[rct.arm == arm].mean() / scale.revenue
    np.testing.assert_allclose(by.imputed.revenue[:, arm], mean, rtol=1e-4)
    mean = rct.cost[rct.arm == arm].mean() / scale.cost
    np.testing.assert_allclose(by.imputed.cost[:, arm], mean, rtol=1e-4)


def test_what_each_coefficient_reaches(tiny_study):
  scale = study_scale(tiny_study)
  obs = to_scaled(tiny_study.obs, scale)
  rows = np.arange(len(obs))
  meta = init_meta(tiny_study, scale)
  meta["w1"]["outcome"] = jnp.array([5.0, 0.0])
  meta["w2"]["seen"] = jnp.asarray(5.0)
  meta["m"]["offset"] = meta["m"]["offset"].at[1, 0, 2].set(7.0)
  by, start = debias(meta, obs), debias(init_meta(tiny_study, scale), obs)
  z1 = np.clip(5 * obs.revenue, -10, 10)
  np.testing.assert_allclose(by.row, np.exp(z1 / 5), rtol=1e-4)
  np.testing.assert_allclose(by.cell[rows, obs.arm], np.e, rtol=1e-5)
  assert np.isclose(by.cell, 1).sum() == len(obs) * (tiny_study.arms - 1)
  moved = by.imputed.revenue - start.imputed.revenue
  expected = np.zeros_like(moved)
  expected[obs.arm == 2, 2] = 7
  np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_weights_wait_and_labels_do_not(ready):
  late, aux, block, step = ready
  assert aux.delay == 5  # one of three epochs
  begin = late.replace(step=jnp.zeros((), jnp.int32))
  early, _ = step(begin, block)
  chex.assert_trees_all_equal(early.meta["w1"], begin.meta["w1"])
  chex.assert_trees_all_equal(
    early.meta_optimiser["w2"], begin.meta_optimiser["w2"]
  )
  assert np.all(early.meta["m"]["arm"] != begin.meta["m"]["arm"])
  moved, _ = step(late, block)
  for name in ("w1", "w2"):
    for leaf in jax.tree.leaves(moved.meta[name]):
      assert np.any(leaf)


def test_a_batch_of_padding_leaves_the_state_to_the_bit(ready):
  state, _, block, step = ready
  still, metrics = step(state, emptied(block))
  chex.assert_trees_all_equal(still, state)
  assert not metrics["skipped"].any()


def test_a_meta_gradient_that_is_not_finite_keeps_phi(ready):
  state, _, block, step = ready
  wild = block._replace(
    rct=block.rct.replace(revenue=block.rct.revenue.at[0, 0].set(np.nan))
  )
  new, metrics = step(state, wild)
  assert metrics["meta_skipped"].all()
  chex.assert_trees_all_equal(new.meta, state.meta)
  chex.assert_trees_all_equal(new.meta_optimiser, state.meta_optimiser)
  assert new.step == 6


@pytest.mark.slow
def test_known_costs_are_not_learnt(tiny_study, tiny_config):
  study = tiny_study.replace(known_cost=np.arange(tiny_study.arms, dtype=float))
  config = tiny_config(debias__delay=0)
  stage, state, aux, block = entered(NAME, study, config)
  step = jax.jit(stage.step)
  one, _ = step(KEY, state, block, aux)
  two, _ = step(KEY, state, with_costs(block, 1e3), aux)
  chex.assert_trees_all_equal(one, two)
  wild = study.replace(
    rct_train=study.rct_train.replace(cost=1e3 * study.rct_train.cost)
  )
  chex.assert_trees_all_equal(
    init_meta(study, state.scale), init_meta(wild, state.scale)
  )
