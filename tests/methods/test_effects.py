"""GROUND and RESPONSE against closed forms."""

import jax
import numpy as np
import pytest
from methods.simple_rivals import KEY, entered, first_rows, untrained

from bidfcl_jax import methods
from bidfcl_jax.methods.effects import arm_means, grounding_slopes
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Samples


def rct(rows, rng):
  features = rng.normal(size=(rows, 3)).astype(np.float32)
  arm = rng.choice(3, size=rows, p=[0.5, 0.2, 0.3])
  return features, arm


def test_grounding_finds_the_bias_that_is_linear_in_x():
  rng = np.random.default_rng(0)
  features, arm = rct(200_000, rng)
  x = np.column_stack([np.ones(len(arm)), features])
  true = np.array([[0, 0, 0, 0], [0.5, 1.0, 0, -0.5], [1.0, 0, 2.0, 0]])
  # OBS says there is no effect at all, so that all of it is bias.
  y = 0.3 * features[:, 0] + (x @ true.T)[np.arange(len(arm)), arm]
  samples = Samples.create(features, arm, y, 0 * y)
  got = grounding_slopes(np.zeros((len(arm), 3)), samples, y, 1.0)
  np.testing.assert_allclose(got, true, atol=0.05)


def test_grounding_keeps_right_effects():
  rng = np.random.default_rng(1)
  features, arm = rct(100_000, rng)
  effects = np.column_stack(
    [0 * features[:, 0], np.sin(features[:, 0]), features[:, 1] ** 2]
  )
  y = effects[np.arange(len(arm)), arm]
  samples = Samples.create(features, arm, y, 0 * y)
  got = grounding_slopes(effects, samples, y, 1.0)
  np.testing.assert_allclose(got, 0, atol=0.05)


def test_ground_predicts_the_network_effect_plus_the_correction(
  tiny_study, tiny_config
):
  config = tiny_config()
  network = make_target(config.network)
  target = untrained(8, tiny_study, config)
  method, state = entered("GROUND", tiny_study, config, target=target)
  features = tiny_study.rct_test.features[:9]
  predicted = method.predict(state, features)
  cells = np.asarray(network.apply(target, features).revenue)
  slopes = np.asarray(state.slopes.revenue)
  effect = cells - cells[:, :1] + slopes[:, 0] + features @ slopes[:, 1:].T
  control = tiny_study.rct_train.arm == 0
  level = tiny_study.rct_train.revenue[control].mean()
  np.testing.assert_allclose(
    predicted.revenue, level + effect * state.scale.revenue, rtol=1e-4
  )
  np.testing.assert_allclose(
    predicted.cost[:, 0], tiny_study.rct_train.cost[control].mean(), rtol=1e-4
  )


@pytest.fixture(scope="module")
def response(tiny_study, tiny_config):
  method = methods.make("RESPONSE", tiny_config())
  return method, method.init(KEY, tiny_study)


def test_response_ranks_by_the_response_alone(response, tiny_study):
  method, state = response
  predicted = method.predict(state, tiny_study.rct_test.features)
  revenue = np.asarray(predicted.revenue)
  means = arm_means(tiny_study.rct_train, tiny_study.arms)
  np.testing.assert_allclose(
    revenue / revenue[:, :1],
    np.broadcast_to(means.revenue / means.revenue[0], revenue.shape),
    rtol=1e-4,
  )
  np.testing.assert_allclose(predicted.cost[4], means.cost, rtol=1e-5)


def test_response_learns_without_the_arm(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("RESPONSE", config)
  shuffled = tiny_study.obs.replace(arm=np.roll(tiny_study.obs.arm, 7))
  stage = method.stages[0]
  targets = []
  for study in (tiny_study, tiny_study.replace(obs=shuffled)):
    state = stage.enter(KEY, method.init(KEY, tiny_study), study)
    block = first_rows(study.obs, 128)
    aux = stage.fixed(state, study)
    targets.append(jax.jit(stage.step)(KEY, state, block, aux)[0].target)
  one, two = (jax.tree.leaves(target) for target in targets)
  for a, b in zip(one, two, strict=True):
    np.testing.assert_array_equal(a, b)


def test_response_without_revenue_is_refused(tiny_study, tiny_config):
  rct = tiny_study.rct_train
  study = tiny_study.replace(rct_train=rct.replace(revenue=0 * rct.revenue))
  with pytest.raises(ValueError, match="positive mean revenue"):
    methods.make("RESPONSE", tiny_config()).init(KEY, study)
