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
  one_batch,
  sparse_study,
)

from bidfcl_jax import methods, training
from bidfcl_jax.losses import factual_loss
from bidfcl_jax.losses.value import received
from bidfcl_jax.methods.dragonnet import targeted_loss
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes, Samples


@pytest.fixture(scope="module")
def fit(tiny_study, tiny_config):
  study = sparse_study(tiny_study)
  return study, *fitted("DragonNet", study, tiny_config())


def test_epsilon_repairs_a_wrong_constant():
  rng = np.random.default_rng(0)
  size = 200_000
  x = rng.normal(size=size)
  share = 1 / (1 + np.exp(-x))
  arm = (rng.random(size) < share).astype(np.int32)
  revenue = x + 2 * arm
  propensity = jnp.asarray(np.stack([1 - share, share], axis=1))
  samples = Samples(jnp.zeros((size, 1)), arm, revenue, jnp.zeros(size))
  samples = jax.tree.map(jnp.asarray, samples)
  wrong = jnp.full((size, 2), 0.7)
  zero = jnp.zeros(2)

  def loss(epsilon):
    return targeted_loss(
      Outcomes(wrong, wrong),
      samples,
      Outcomes(epsilon, zero),
      propensity,
      floor=1e-6,
      learn_cost=False,
    )

  # Quadratic in epsilon: one Newton step is the minimum.
  slope, curvature = jax.jit(
    lambda x: (jax.grad(loss)(x), jax.hessian(loss)(x))
  )(zero)
  epsilon = -slope / jnp.diag(curvature)
  moved = np.asarray(wrong + epsilon / propensity, np.float64).mean(axis=0)
  assert moved[1] - moved[0] == pytest.approx(1.99, abs=0.05)
  naive = revenue[arm == 1].mean() - revenue[arm == 0].mean()
  assert naive == pytest.approx(2.82, abs=0.05)


def test_targeting_reaches_epsilon_outcomes_and_propensity():
  rng = np.random.default_rng(0)
  cells = [jnp.asarray(rng.normal(size=(6, 3))) for _ in range(2)]
  samples = Samples(
    jnp.zeros((6, 1)), jnp.asarray([0, 1, 2] * 2), *jnp.ones((2, 6))
  )
  share = jnp.full((6, 3), 1 / 3)
  epsilon = Outcomes(jnp.ones(3), jnp.ones(3))

  def slopes(learn_cost):
    return jax.grad(
      lambda *x: targeted_loss(
        x[0], samples, x[1], x[2], floor=0.01, learn_cost=learn_cost
      ),
      argnums=(0, 1, 2),
    )(Outcomes(*cells), epsilon, share)

  for leaf in jax.tree.leaves(slopes(True)):
    assert np.count_nonzero(leaf) >= 3
  predicted, moved, _ = slopes(False)
  assert not predicted.cost.any() and not moved.cost.any()


@pytest.mark.slow
def test_without_its_terms_it_is_tsm_sl(tiny_study, tiny_config):
  config = tiny_config(
    dragonnet__propensity_weight=0.0, dragonnet__targeted_weight=0.0
  )
  predictions = []
  for name in ("DragonNet", "TSM-SL-OBS"):
    method = methods.make(name, config)
    state, _ = training.fit(method, tiny_study, KEY, config)
    predictions.append(method.predict(state, tiny_study.rct_test.features))
  one, two = predictions
  np.testing.assert_allclose(one.revenue, two.revenue, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(one.cost, two.cost, rtol=1e-4, atol=1e-4)


def test_a_step_follows_the_three_terms(tiny_study, tiny_config):
  config = tiny_config(
    dragonnet__propensity_weight=0.5,
    dragonnet__targeted_weight=0.25,
    dragonnet__delay=0.0,
  )
  method = methods.make("DragonNet", config)
  state = method.init(KEY, tiny_study)
  scalars = jnp.linspace(-0.1, 0.1, tiny_study.arms)
  epsilon = Outcomes(scalars, 2 * scalars)
  state = state.replace(target=state.target | {"epsilon": epsilon})
  after, samples, _ = first_step(method.stages[0], state, tiny_study)
  network = make_target(config.network)

  @jax.jit
  @jax.grad
  def wanted(target):
    outcomes, head = target["outcomes"], target["propensity"]
    predicted = network.apply(outcomes, samples.features)
    units = network.represent(outcomes, samples.features)
    share = jax.nn.softmax(units @ head["kernel"] + head["bias"])
    surprise = -jnp.mean(jnp.log(received(share, samples.arm)))
    targeted = targeted_loss(
      predicted, samples, target["epsilon"], share, floor=0.01
    )
    return factual_loss(predicted, samples) + 0.5 * surprise + 0.25 * targeted

  chex.assert_trees_all_close(
    gradient(after), wanted(state.target), rtol=1e-4, atol=1e-5
  )


def test_targeting_begins_after_the_delay(fit):
  study, method, state, _ = fit
  state = state.replace(step=jnp.zeros((), jnp.int32))
  step, block = one_batch(method.stages[0], state, study)
  early, _ = step(state, block)
  late, _ = step(state.replace(step=jnp.asarray(10_000)), block)

  def moved(new):
    old = np.asarray(state.optimiser[0].mu["epsilon"].revenue)
    # Adam's first moment decays where the gradient is 0.
    return not np.allclose(new.optimiser[0].mu["epsilon"].revenue, 0.9 * old)

  assert not moved(early) and moved(late)


def test_an_empty_batch_changes_nothing(fit):
  study, method, state, _ = fit
  assert_empty_batch_changes_nothing(method.stages[0], state, study)


@pytest.mark.slow
def test_known_costs_teach_nothing(fit):
  study, method, state, _ = fit
  assert_known_costs_teach_nothing(method.stages[0], state, study)


@pytest.mark.parametrize(("option", "value"), [("floor", 0.0), ("delay", 2.0)])
def test_options_out_of_range_are_named(option, value, tiny_config):
  with pytest.raises(ValueError, match=f"dragonnet.{option}="):
    methods.make("DragonNet", tiny_config(**{f"dragonnet__{option}": value}))
