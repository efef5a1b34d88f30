"""Each method by a property that a broken one fails."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods.paired import many_steps
from methods.simple_rivals import first_rows

from bidfcl_jax import methods, training
from bidfcl_jax.data.batches import epoch_rows, take_block
from bidfcl_jax.losses import factual_loss
from bidfcl_jax.methods.ensembles import choose_weight, mixed_outcomes
from bidfcl_jax.types import Outcomes

KEY = jax.random.key(3)


def assert_equal(a, b):
  chex.assert_trees_all_equal(
    jax.tree.map(np.asarray, a), jax.tree.map(np.asarray, b)
  )


def test_unknown_name_gets_the_nearest(tiny_config):
  with pytest.raises(ValueError, match="did you mean Bi-DFCL-PPL"):
    methods.make("BiDFCL-PPL", tiny_config())


def test_constant_features_learn_the_arm_means(tiny_study, tiny_config):
  rct = tiny_study.rct_train
  rct = rct.replace(features=np.ones_like(rct.features))
  config = tiny_config(
    network__hidden=(), rct__learning_rate=0.02, rct__weight_decay=0.0
  )
  method = methods.make("TSM-SL-RCT", config)
  state, stage = method.init(KEY, tiny_study), method.stages[0]
  aux = stage.fixed(state, tiny_study)
  state = many_steps(stage, state, aux, first_rows(rct, len(rct)), 1000)
  predicted = method.predict(state, rct.features[:1])
  for name in ("revenue", "cost"):
    seen = getattr(rct, name)
    means = [seen[rct.arm == j].mean() for j in range(tiny_study.arms)]
    np.testing.assert_allclose(
      getattr(predicted, name)[0], means, rtol=1e-4, atol=1e-4
    )


def test_a_row_teaches_its_own_arm_alone(tiny_study):
  samples = jax.tree.map(jnp.asarray, tiny_study.rct_train)
  own = jax.nn.one_hot(samples.arm, tiny_study.arms, dtype=bool)
  zero = jnp.zeros(own.shape)
  slope = jax.grad(factual_loss)(Outcomes(zero, zero), samples)
  for cells in (slope.revenue, slope.cost):
    assert not cells[~own].any() and cells[own].any()


def test_fine_tuning_begins_where_the_obs_model_ends(tiny_study, tiny_config):
  config = tiny_config()
  obs, _ = training.fit(
    methods.make("TSM-SL-OBS", config), tiny_study, KEY, config
  )
  ft = methods.make("FT", config)
  first, _ = training.fit(
    ft._replace(stages=ft.stages[:1]), tiny_study, KEY, config
  )
  assert_equal(obs.target, first.target)


@pytest.mark.slow
def test_known_costs_are_returned_and_not_learnt(tiny_study, tiny_config):
  config = tiny_config()
  costs = np.arange(tiny_study.arms, dtype=np.float64)
  study = tiny_study.replace(known_cost=costs)
  for name in ("TSM-SL-RCT", "Bi-DFCL-PPL"):
    method = methods.make(name, config)
    state, _ = training.fit(method, study, KEY, config)
    predicted = method.predict(state, study.rct_test.features)
    np.testing.assert_array_equal(predicted.cost[5], costs.astype(np.float32))
  wild = study.rct_train.replace(cost=1e3 * study.rct_train.cost)
  method = methods.make("TSM-SL-RCT", config)
  one, _ = training.fit(method, study, KEY, config)
  two, _ = training.fit(method, study.replace(rct_train=wild), KEY, config)
  assert_equal(one.target, two.target)


def test_average_is_exact_at_both_ends():
  a = Outcomes(np.ones((2, 2)), np.zeros((2, 2)))
  b = Outcomes(np.full((2, 2), 3.0), np.ones((2, 2)))
  assert_equal(mixed_outcomes(a, b, 0.0), a)
  assert_equal(mixed_outcomes(a, b, 1.0), b)


def test_weight_nearest_the_middle_among_the_indistinguishable():
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(400, 1))
  errors = (1 + noise) ** 2 + np.array([0.0, 0.0, 0.0, 5.0, 5.0])
  assert choose_weight(errors, rng, replicates=50) == 2
  errors = 1 + np.array([0.0, 1.0, 2.0, 3.0, 4.0]) + 0 * noise
  assert choose_weight(errors, rng, replicates=50) == 0


def _bilevel(name, study, config):
  """Returns stage, entered state, aux and a block of the bi-level stage."""
  method = methods.make(name, config)
  state = method.init(KEY, study)
  for number, stage in enumerate(method.stages):
    # Keys of their own: a target equal to the teacher gives phi no signal.
    state = stage.enter(jax.random.fold_in(KEY, number), state, study)
  aux = stage.fixed(state, study)
  rows = epoch_rows(KEY, 600, stage.batch, stage.period)[0]
  block = take_block(jax.tree.map(jnp.asarray, study.obs), jnp.asarray(rows))
  return stage, state, aux, block


@pytest.mark.parametrize(
  "recipe",
  [
    "recommended",
    pytest.param("paper_letter", marks=pytest.mark.slow),
    pytest.param("fast", marks=pytest.mark.slow),
  ],
)
def test_fc_14_every_leaf_of_the_bridge_moves(recipe, tiny_study, tiny_config):
  stage, state, aux, block = _bilevel(
    "Bi-DFCL-PPL",
    tiny_study,
    tiny_config(recipe, bilevel__max_residual=1e6),
  )
  new, metrics = jax.jit(stage.step)(KEY, state, block, aux)
  assert not metrics["bridge_skipped"]
  for old, moved in zip(
    jax.tree.leaves(state.bridge), jax.tree.leaves(new.bridge), strict=True
  ):
    assert np.isfinite(moved).all()
    assert not np.array_equal(old, moved)
  assert_equal(new.members, state.members)


def test_fc_13_a_refused_solve_leaves_the_bridge_to_the_bit(
  tiny_study, tiny_config
):
  stage, state, aux, block = _bilevel(
    "Bi-DFCL-PPL", tiny_study, tiny_config(bilevel__max_residual=0.0)
  )
  new, metrics = jax.jit(stage.step)(KEY, state, block, aux)
  assert metrics["bridge_skipped"]
  assert_equal(new.bridge, state.bridge)
  assert_equal(new.bridge_optimiser, state.bridge_optimiser)
  assert int(new.step) > int(state.step)


def test_frozen_gates_stay(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("FROZEN", config)
  begin = method.init(jax.random.fold_in(KEY, 0), tiny_study)
  stage, state, aux, block = _bilevel("FROZEN", tiny_study, config)
  new, _ = jax.jit(stage.step)(KEY, state, block, aux)
  assert_equal(new.bridge, state.bridge)
  assert jax.tree.structure(begin) == jax.tree.structure(new)


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_bilevel_epoch_is_left_by_any_warm_start(epochs, tiny_config):
  config = tiny_config(
    obs__epochs=epochs, bilevel__warm_epochs=9, bilevel__warm_share=1.0
  )
  warm, bilevel = methods.make("Bi-DFCL-PPL", config).stages[-2:]
  assert (warm.name, bilevel.name) == ("warm", "bilevel")
  assert (warm.epochs, bilevel.epochs) == (epochs - 1, 1)
