"""Repairs of an OBS model against closed forms, on untrained networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods.simple_rivals import KEY, entered, gradient, untrained
from obs_only import assert_equal

from bidfcl_jax import methods
from bidfcl_jax.data.batches import epoch_rows, part, take_block
from bidfcl_jax.methods.repairs import ridge_fit, source_weights
from bidfcl_jax.models import make_target


def test_ridge_against_its_normal_equations_and_its_limits():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
  b = ridge_fit(x, y, 2.0)
  np.testing.assert_allclose(x.T @ (y - x @ b), 2.0 * b)
  np.testing.assert_allclose(
    ridge_fit(x, y, 0.0), np.linalg.lstsq(x, y, rcond=None)[0]
  )
  assert np.abs(ridge_fit(x, y, 1e9)).max() < 1e-6


def test_a_repeated_column_without_ridge_has_a_solution():
  x = np.ones((5, 2))
  np.testing.assert_allclose(ridge_fit(x, np.full(5, 3.0), 0.0), [1.5, 1.5])


@pytest.fixture(scope="module")
def shifted(tiny_study, tiny_config):
  """The RCT's outcomes are a network's, shifted by a constant per arm."""
  network = make_target(tiny_config().network)
  target = untrained(8, tiny_study, tiny_config())
  cells = network.apply(target, tiny_study.rct_train.features)
  shift = np.arange(tiny_study.arms) - 1.5
  arm = np.asarray(tiny_study.rct_train.arm)
  scalers, rows = tiny_study.scalers, np.arange(len(arm))
  rct = tiny_study.rct_train.replace(
    revenue=np.asarray(
      (np.asarray(cells.revenue)[rows, arm] + shift[arm]) * scalers.revenue,
      np.float32,
    ),
    cost=np.asarray(
      np.asarray(cells.cost)[rows, arm] * scalers.cost, np.float32
    ),
  )
  return tiny_study.replace(rct_train=rct), network, target, shift


@pytest.mark.parametrize("name", ["RES", "SHARED"])
def test_a_constant_per_arm_is_repaired_up_to_the_ridge(
  name, shifted, tiny_config
):
  study, network, target, shift = shifted
  method, state = entered(
    name, study, tiny_config(simple__ridge=1e-6), target=target
  )
  features = study.rct_test.features
  before, after = (
    network.apply(target, features),
    method.predict(state, features),
  )
  np.testing.assert_allclose(
    after.revenue / state.scale.revenue - before.revenue,
    np.broadcast_to(shift, before.revenue.shape),
    atol=2e-3,
  )
  np.testing.assert_allclose(
    after.cost / state.scale.cost, before.cost, atol=2e-3
  )


def test_an_endless_ridge_repairs_nothing(shifted, tiny_config):
  study, network, target, _ = shifted
  for name in ("RES", "SHARED"):
    method, state = entered(
      name, study, tiny_config(simple__ridge=1e9), target=target
    )
    features = study.rct_test.features[:5]
    np.testing.assert_allclose(
      method.predict(state, features).revenue / state.scale.revenue,
      network.apply(target, features).revenue,
      atol=1e-5,
    )


def test_shared_leaves_the_hidden_layers(shifted, tiny_config):
  study, _, target, _ = shifted
  _, state = entered("SHARED", study, tiny_config(), target=target)
  for name in target:
    same = jax.tree.map(np.array_equal, state.target[name], target[name])
    assert all(jax.tree.leaves(same)) == (name != "head")


def one_step(name, config, *studies):
  """Returns the states after a batch of the first stage, study by study."""
  method = methods.make(name, config)
  stage = method.stages[0]
  step = jax.jit(stage.step)
  states = []
  for study in studies:
    state = stage.enter(KEY, method.init(KEY, study), study)
    samples = jax.tree.map(jnp.asarray, part(study, stage.reads))
    rows = epoch_rows(KEY, len(samples), 450)[0]
    block = take_block(samples, jnp.asarray(rows))
    aux = stage.fixed(state, study)
    states.append(step(KEY, state, block, aux)[0])
  return states


def flat(state):
  return np.concatenate([np.ravel(x) for x in jax.tree.leaves(gradient(state))])


def test_the_sources_own_share_is_the_plain_union(tiny_study, tiny_config):
  share = len(tiny_study.rct_train) / 900
  config = tiny_config(simple__union_weight=share)
  (weighted,) = one_step("UNION-w", config, tiny_study)
  (plain,) = one_step("TSM-SL-BOTH", config, tiny_study)
  np.testing.assert_allclose(flat(weighted), flat(plain), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(source_weights(600, 300, 1 / 3), 1)
  np.testing.assert_allclose(source_weights(600, 300, 0.5), [0.75, 1.5])
  with pytest.raises(ValueError, match="RCT-train has no row"):
    source_weights(600, 0, 0.5)


def test_the_whole_weight_on_one_source_ignores_the_other(
  tiny_study, tiny_config
):
  config = tiny_config(simple__union_weight=1.0)
  wild = tiny_study.obs.replace(revenue=100 * tiny_study.obs.revenue)
  one, two = one_step(
    "UNION-w", config, tiny_study, tiny_study.replace(obs=wild)
  )
  assert_equal(one, two)


def test_without_an_rct_the_union_is_obs(tiny_study, tiny_config):
  none = jax.tree.map(lambda leaf: leaf[:0], tiny_study.rct_train)
  study = tiny_study.replace(rct_train=none)
  (union,) = one_step("TSM-SL-BOTH", tiny_config(), study)
  (obs,) = one_step("TSM-SL-OBS", tiny_config(), study)
  assert_equal(union, obs)


def test_a_share_above_one_is_refused(tiny_config):
  with pytest.raises(ValueError, match="simple.union_weight=1.5"):
    methods.make("UNION-w", tiny_config(simple__union_weight=1.5))
