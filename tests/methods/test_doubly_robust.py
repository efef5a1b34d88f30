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
  one_batch,
)

from bidfcl_jax import methods
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.losses.value import received
from bidfcl_jax.models import make_target


@pytest.fixture(scope="module")
def fit(tiny_study, tiny_config):
  # Known propensities spare the fit of a logging policy.
  config = tiny_config(propensity__oracle=True, obs__batch=256)
  study = tiny_study.for_learners(logging=True)
  method, state, history = fitted("DR-JT", tiny_study, config)
  return study, config, method, state, history


def test_the_warm_up_moves_the_imputer_alone(fit):
  study, _, method, _, _ = fit
  begin = method.init(KEY, study)
  warm = method.stages[0]
  state = warm.enter(KEY, begin, study)
  step, block = one_batch(warm, state, study)
  after, _ = step(state, block)
  assert_equal(after.target, state.target)
  assert int(after.imputer.step) == 1 and int(after.step) == 0
  # The target that the imputer was warmed up for goes on.
  assert_equal(method.stages[1].enter(KEY, after, study).target, state.target)


def test_each_batch_is_a_step_of_both(fit):
  study, config, method, state, _ = fit
  batches = -(-len(study.obs) // config.obs.batch)
  assert int(state.step) == config.obs.epochs * batches
  assert int(state.imputer.step) == (config.obs.epochs + 1) * batches
  step, block = one_batch(method.stages[1], state, study)
  after, metrics = step(state, block)
  for old, new in zip(
    jax.tree.leaves((state.target, state.imputer.target)),
    jax.tree.leaves((after.target, after.imputer.target)),
    strict=True,
  ):
    assert not np.array_equal(old, new)
  assert metrics["imputer_loss"].shape == (1,)


def test_a_step_of_both_follows_the_formulas(fit):
  study, config, method, _, _ = fit
  state = method.init(KEY, study)
  after, samples, rows = first_step(method.stages[1], state, study)
  share = study.truth.logging[rows, samples.arm]
  inverse = jnp.asarray(np.minimum(1 / share, config.propensity.cap), float)
  network = make_target(config.network)
  known = network.apply(state.target, samples.features)

  def imputer_loss(imputer):
    unexplained = samples.replace(
      revenue=samples.revenue - received(known.revenue, samples.arm),
      cost=samples.cost - received(known.cost, samples.arm),
    )
    guess = network.apply(imputer, samples.features)
    return reweighted_loss(guess, unexplained, inverse, normalise="plain")

  def target_loss(target):
    guess = network.apply(after.imputer.target, samples.features)
    predicted = network.apply(target, samples.features)
    imputed = jax.tree.map(jnp.add, known, guess)
    return doubly_robust_loss(predicted, imputed, samples, inverse)

  for moved, loss, start in (
    (after.imputer, imputer_loss, state.imputer),
    (after, target_loss, state),
  ):
    wanted = jax.jit(jax.grad(loss))(start.target)
    chex.assert_trees_all_close(gradient(moved), wanted, rtol=1e-4, atol=1e-5)


def test_each_schedule_counts_its_own_steps(fit):
  study, config, method, state, _ = fit
  batches = -(-len(study.obs) // config.obs.batch)
  for stage in method.stages:
    aux = stage.fixed(state, study)
    assert int(aux.weights.total) == config.obs.epochs * batches
    # The imputer goes on from its warm-up.
    assert int(aux.imputer_total) == (config.obs.epochs + 1) * batches


@pytest.mark.slow
def test_an_empty_batch_changes_nothing(fit):
  study, _, method, state, _ = fit
  assert_empty_batch_changes_nothing(method.stages[1], state, study)


def test_known_costs_teach_nothing(fit):
  study, _, method, state, _ = fit
  assert_known_costs_teach_nothing(method.stages[1], state, study)


@pytest.mark.slow
def test_labels_of_the_imputer_itself(fit, tiny_config):
  study, _, method, state, _ = fit
  config = tiny_config(
    propensity__oracle=True, obs__batch=256, propensity__imputation="label"
  )
  other = methods.make("DR-JT", config)
  step, block = one_batch(method.stages[1], state, study)
  label_step, _ = one_batch(other.stages[1], state, study)
  # Two forms of one idea: where F is 0, F + G is G.
  silent = state.replace(
    target=jax.tree.map(lambda leaf: 0 * leaf, state.target)
  )
  assert_equal(step(silent, block)[0], label_step(silent, block)[0])
  one, two = step(state, block)[0], label_step(state, block)[0]
  assert not np.array_equal(
    one.imputer.target["head"]["bias"], two.imputer.target["head"]["bias"]
  )


def test_an_unknown_imputation_is_named(tiny_config):
  with pytest.raises(ValueError, match="propensity.imputation='error'"):
    methods.make("DR-JT", tiny_config(propensity__imputation="error"))
