"""LTD-IPS and LTD-DR: the meta gradient, corrupted rows, refused steps."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from paired import (
  KEY,
  central_differences,
  doubled,
  emptied,
  entered,
  many_steps,
  with_costs,
)

from bidfcl_jax import methods, training
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.methods.debiasing import DebiasState, make_lower
from bidfcl_jax.methods.learnt_propensity import (
  init_propensity,
  propensity_weights,
  weight_variance,
)
from bidfcl_jax.methods.meta_step import meta_gradient
from bidfcl_jax.methods.method import Scale, State, to_scaled
from bidfcl_jax.models import make_scores, make_target
from bidfcl_jax.types import Samples

# Compiling is what these tests cost: LTD-DR has all of LTD-IPS and more.
BOTH = pytest.mark.parametrize(
  "name", [pytest.param("LTD-IPS", marks=pytest.mark.slow), "LTD-DR"]
)


@pytest.fixture(scope="module")
def ready(tiny_study, tiny_config):
  """Returns name -> (state, block, jitted step with aux inside), made once."""

  @functools.cache
  def make(name):
    stage, state, aux, block = entered(name, tiny_study, tiny_config())
    step = jax.jit(stage.step)
    return state, block, lambda state, block: step(KEY, state, block, aux)

  return make


@pytest.mark.parametrize(
  "name", ["LTD-IPS", pytest.param("LTD-DR", marks=pytest.mark.slow)]
)
def test_it_trains_and_predicts(name, tiny_study, tiny_config):
  config = tiny_config(obs__epochs=1)
  method = methods.make(name, config)
  state, _ = training.fit(method, tiny_study, KEY, config)
  predicted = method.predict(state, tiny_study.rct_test.features)
  assert predicted.revenue.shape == (200, tiny_study.arms)
  assert np.isfinite(predicted.revenue).all()
  assert np.isfinite(predicted.cost).all()
  assert state.step == 5


@pytest.mark.parametrize(
  "name", ["LTD-IPS", pytest.param("LTD-DR", marks=pytest.mark.slow)]
)
def test_meta_gradient_against_central_differences(
  name, tiny_study, tiny_config
):
  with jax.enable_x64(True):
    config = tiny_config(network__hidden=(3,), debias__cap=50.0)
    _, state, _, block = entered(name, tiny_study, config)
    state, block = doubled((state, block))
    samples, rct = (
      to_scaled(jax.tree.map(lambda x: x[0], rows), state.scale)
      for rows in (block.samples, block.rct)
    )
    network, eta = make_target(config.network), 0.1
    lower, weights = make_lower(network, config, state, samples)

    def upper(theta):
      return factual_loss(network.apply(theta, rct.features), rct)

    def direct(phi):
      return 0.3 * weight_variance(weights(phi), samples)

    def through(phi):
      slope = jax.grad(lower)(state.target, phi)
      theta = jax.tree.map(lambda t, s: t - eta * s, state.target, slope)
      return upper(theta) + direct(phi)

    gradient, accepted = jax.jit(
      lambda phi: meta_gradient(
        lower, upper, state.target, phi, step_size=eta, direct=direct
      )
    )(state.meta)
    assert accepted
    expected = central_differences(through, state.meta)
    error = np.linalg.norm(ravel_pytree(gradient)[0] - expected)
    assert error < 1e-5 * np.linalg.norm(expected)
    plain, _ = meta_gradient(
      lower, upper, state.target, state.meta, step_size=eta
    )
    assert 0 < np.linalg.norm(ravel_pytree(plain)[0])


@pytest.mark.parametrize(
  "name", ["LTD-IPS", pytest.param("LTD-DR", marks=pytest.mark.slow)]
)
def test_corrupted_rows_lose_their_weight(name, tiny_study, tiny_config):
  config = tiny_config(
    obs__batch=600,
    obs__learning_rate=0.01,
    obs__weight_decay=0.0,
    debias__meta_learning_rate=0.05,
    debias__variance_weight=1e-3,
  )

  def clean(rows):
    effect = 1 + rows.features[:, 0] + rows.arm
    return rows.replace(revenue=effect, cost=effect)

  obs, rct = clean(tiny_study.obs), clean(tiny_study.rct_train)
  bad = obs.features[:, 2] > 0
  wrong = np.where(bad, 5 - 2 * obs.revenue, obs.revenue)
  study = tiny_study.replace(
    obs=obs.replace(revenue=wrong, cost=wrong), rct_train=rct
  )
  stage, state, aux, block = entered(name, study, config)
  end = many_steps(stage, state, aux, block, 200)
  samples = jax.tree.map(lambda x: x[0], block.samples)
  bad = samples.features[:, 2] > 0

  def ratio(state):
    logits = make_scores(config.network).apply(state.meta, samples.features)
    v = propensity_weights(logits, samples, cap=config.debias.cap)
    return weighted_mean(v, bad) / weighted_mean(v, ~bad)

  assert 0.7 < ratio(state) < 1.4
  assert ratio(end) < 0.5


@pytest.mark.parametrize(
  "name", ["LTD-IPS", pytest.param("LTD-DR", marks=pytest.mark.slow)]
)
def test_a_batch_of_padding_leaves_the_state_to_the_bit(name, ready):
  state, block, step = ready(name)
  moved, _ = step(state, block)
  for part in ("target", "meta", "imputer"):
    if getattr(state, part) is not None:
      old, new = (ravel_pytree(getattr(s, part))[0] for s in (state, moved))
      assert np.any(old != new)
  still, metrics = step(state, emptied(block))
  chex.assert_trees_all_equal(still, state)
  assert not metrics["skipped"].any()


@pytest.mark.parametrize("name", ["LTD-IPS", "AutoDebias"])
def test_the_virtual_step_is_as_long_as_the_real_one(
  name, tiny_study, tiny_config
):
  norms = []
  for schedule in ("constant", "cosine"):
    config = tiny_config(obs__schedule=schedule, debias__variance_weight=0.0)
    stage, state, aux, block = entered(name, tiny_study, config)
    # The last step of the stage: a cosine has come down to 0.
    at_end = optax.tree.set(state.optimiser, count=jnp.int32(aux.total))
    _, metrics = jax.jit(stage.step)(
      KEY, state.replace(optimiser=at_end), block, aux
    )
    norms.append(float(metrics["meta_gradient_norm"][0]))
  assert norms[0] > 0
  assert norms[1] == 0


@BOTH
def test_a_meta_gradient_that_is_not_finite_keeps_phi(name, ready):
  state, block, step = ready(name)
  wild = block._replace(
    rct=block.rct.replace(revenue=block.rct.revenue.at[0, 0].set(np.inf))
  )
  new, metrics = step(state, wild)
  assert metrics["meta_skipped"].all()
  chex.assert_trees_all_equal(new.meta, state.meta)
  chex.assert_trees_all_equal(new.meta_optimiser, state.meta_optimiser)
  chex.assert_trees_all_equal(new.imputer, state.imputer)
  assert new.step == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LTD-IPS", "LTD-DR"])
def test_known_costs_are_not_learnt(name, tiny_study, tiny_config):
  study = tiny_study.replace(known_cost=np.arange(tiny_study.arms, dtype=float))
  stage, state, aux, block = entered(name, study, tiny_config())
  step = jax.jit(stage.step)
  one, _ = step(KEY, state, block, aux)
  two, _ = step(KEY, state, with_costs(block, 1e3), aux)
  chex.assert_trees_all_equal(one, two)


def _rows(arm, weight=None):
  zeros = jnp.zeros(len(arm))
  return Samples(zeros[:, None], jnp.asarray(arm), zeros, zeros, weight)


def test_weights_by_hand():
  # 1/q = 2, 4 | 3 and, beyond the cap of 5, 5; the last row is padding.
  logits = -jnp.log(jnp.array([[1.0, 9], [3, 9], [9, 2], [9, 1e6], [99, 9]]))
  rows = _rows([0, 0, 1, 1, 0], jnp.array([1.0, 1, 1, 1, 0]))
  weights = propensity_weights(logits, rows, cap=5.0)
  np.testing.assert_allclose(
    weights[:4], [2 / 3, 4 / 3, 3 / 4, 5 / 4], rtol=1e-6
  )
  assert weight_variance(weights, rows) == pytest.approx(
    (2 * (1 / 3) ** 2 + 2 * (1 / 4) ** 2) / 4
  )


def test_weights_of_extreme_logits_have_a_finite_gradient():
  rows = _rows([0, 1, 1])
  logits = jnp.array([[-500.0, 0], [0, 500.0], [0, -500.0]])

  def total(logits):
    return propensity_weights(logits, rows, cap=20.0) @ jnp.arange(3.0)

  value, slope = jax.value_and_grad(total)(logits)
  assert np.isfinite(value)
  assert np.isfinite(slope).all()


def test_propensities_begin_at_the_shares_of_obs(tiny_study, tiny_config):
  obs = tiny_study.obs.replace(
    arm=np.repeat([0, 1, 2, 3], [300, 180, 119, 1]).astype(np.int32)
  )
  config = tiny_config()
  phi = init_propensity(KEY, config, tiny_study.replace(obs=obs))
  share = jax.nn.sigmoid(phi["head"]["bias"])
  # Rare and absent arms begin at twice the least propensity, 1 / cap.
  np.testing.assert_allclose(share, [0.5, 0.3, 119 / 600, 0.1, 0.1], rtol=1e-5)
  with pytest.raises(ValueError, match="debias.cap=1.0"):
    methods.make("LTD-IPS", tiny_config(debias__cap=1.0))


def test_the_robust_loss_with_the_true_propensity_is_unbiased(tiny_config):
  """A wrong imputer is repaired: F = 0, m = 1, logit of arm 0 is x."""
  config = tiny_config(network__hidden=(), debias__cap=1e3)
  rng = np.random.default_rng(0)
  x = rng.normal(size=20_000)
  arm = (rng.random(len(x)) > 1 / (1 + np.exp(-x))).astype(np.int32)
  outcomes = np.stack([x, 1 + x], axis=1)
  observed = outcomes[np.arange(len(x)), arm]
  samples = jax.tree.map(
    jnp.asarray, Samples.create(x[:, None], arm, observed, observed)
  )
  network = make_target(config.network)
  zero = jax.tree.map(jnp.zeros_like, network.init(KEY, 1, 2))
  ones = {"head": {"kernel": jnp.zeros((1, 4)), "bias": jnp.ones(4)}}
  scale = Scale(jnp.ones(()), jnp.ones(()), jnp.zeros(2))
  imputer = State(jnp.zeros((), jnp.int32), ones, None, scale)
  phi = {"head": {"kernel": jnp.array([[1.0, -1.0]]), "bias": jnp.zeros(2)}}
  state = DebiasState(
    imputer.step, zero, None, scale, phi, None, imputer=imputer
  )
  lower, _ = make_lower(network, config, state, samples)
  true = np.mean(np.sum(outcomes**2, axis=1))
  assert lower(zero, phi) == pytest.approx(true, rel=0.04)
  naive = 2 * np.mean(observed**2)
  assert abs(naive - true) > 0.1 * true
