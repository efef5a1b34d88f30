import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods.simple_rivals import gradient
from obs_only import (
  KEY,
  assert_empty_batch_changes_nothing,
  assert_known_costs_teach_nothing,
  first_step,
  fitted,
  sparse_study,
)

from bidfcl_jax import methods, training
from bidfcl_jax.losses import factual_loss
from bidfcl_jax.models import make_target


@pytest.fixture(scope="module")
def fit(tiny_study, tiny_config):
  study = sparse_study(tiny_study)
  return study, tiny_config(), *fitted("IPS", study, tiny_config())


def test_rare_and_absent_arms_are_no_nan(fit):
  study, _, _, state, history = fit
  assert 1 < history[-1]["effective_rows"] < len(study.obs)
  assert np.isfinite(state.logging.log_loss).all()


def test_weights_are_capped_and_stabilised(fit):
  study, config, _, state, _ = fit
  sharp = state.replace(
    logging=state.logging.replace(temperature=state.logging.temperature / 100)
  )

  def weights(**options):
    settings = dataclasses.replace(config.propensity, **options)
    changed = dataclasses.replace(config, propensity=settings)
    stage = methods.make("IPS", changed).stages[0]
    return stage.fixed(sharp, study)

  capped = weights(cap=5.0)
  assert capped.row.max() == 5 and capped.row.min() >= 1
  assert capped.report["capped"] == np.mean(capped.row == 5)
  free = weights(cap=float("inf")).row
  assert np.isfinite(free).all() and free.max() > 5
  stabilised = weights(cap=5.0, stabilised=True).row
  counts = np.bincount(study.obs.arm, minlength=study.arms)
  shares = counts / counts.sum()
  np.testing.assert_allclose(
    stabilised, capped.row * shares[study.obs.arm], rtol=1e-5
  )
  row = np.asarray(capped.row, np.float64)
  assert capped.report["effective_rows"] == pytest.approx(
    row.sum() ** 2 / (row**2).sum(), rel=1e-5
  )


def test_a_step_weighs_each_row_by_its_own_propensity(tiny_study, tiny_config):
  config = tiny_config(propensity__oracle=True, propensity__cap=5.0)
  method = methods.make("IPS", config)
  state = method.init(KEY, tiny_study)
  after, samples, rows = first_step(method.stages[0], state, tiny_study)
  share = tiny_study.truth.logging[rows, samples.arm]
  samples = samples.replace(weight=jnp.asarray(np.minimum(1 / share, 5), float))
  network = make_target(config.network)

  @jax.jit
  @jax.grad
  def wanted(target):
    return factual_loss(network.apply(target, samples.features), samples)

  chex.assert_trees_all_close(
    gradient(after), wanted(state.target), rtol=1e-4, atol=1e-6
  )


def test_an_empty_batch_changes_nothing(fit):
  study, _, method, state, _ = fit
  assert_empty_batch_changes_nothing(method.stages[0], state, study)


@pytest.mark.slow
def test_known_costs_teach_nothing(fit):
  study, _, method, state, _ = fit
  assert_known_costs_teach_nothing(method.stages[0], state, study)


def test_oracle_reads_the_logging_propensities(tiny_study, tiny_config):
  config = tiny_config(propensity__oracle=True, propensity__cap=1e6)
  method = methods.make("IPS", config)
  state = method.init(KEY, tiny_study)
  learners = tiny_study.for_learners(logging=True)
  assert learners.rct_test is None and learners.truth.outcomes is None
  aux = method.stages[0].fixed(state, learners)
  at = np.arange(len(tiny_study.obs)), tiny_study.obs.arm
  wanted = 1 / tiny_study.truth.logging[at]
  np.testing.assert_allclose(aux.row, wanted, rtol=1e-5)
  with pytest.raises(ValueError, match="propensity.oracle=True needs"):
    method.stages[0].fixed(state, tiny_study.for_learners())


@pytest.mark.slow
def test_oracle_propensities_pass_through_a_fit(tiny_study, tiny_config):
  config = tiny_config(propensity__oracle=True, obs__epochs=1)
  method = methods.make("IPS", config)
  _, history = training.fit(method, tiny_study, KEY, config)
  assert history[-1]["effective_rows"] < len(tiny_study.obs)
  assert "propensity_log_loss" not in history[-1]
  shown = [
    name for name in methods.names() if methods.make(name, config).reads_logging
  ]
  assert sorted(shown) == ["DR-JT", "IPS"]


@pytest.mark.parametrize(
  ("option", "value"),
  [("cap", 0.5), ("folds", 0), ("epochs", 0), ("normalise", "mean")],
)
def test_options_out_of_range_are_named(option, value, tiny_config):
  with pytest.raises(ValueError, match=f"propensity.{option}="):
    methods.make("IPS", tiny_config(**{f"propensity__{option}": value}))
