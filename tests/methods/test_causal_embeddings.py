"""CausE against least squares, its limits and padding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paired import KEY, emptied, entered, many_steps

from bidfcl_jax import methods, training
from bidfcl_jax.methods.causal_embeddings import (
  discrepancy,
  embeddings_loss,
  two_sided,
)
from bidfcl_jax.methods.method import study_scale, to_scaled
from bidfcl_jax.models import make_target


def test_it_trains_and_predicts(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("CausE", config)
  state, history = training.fit(method, tiny_study, KEY, config)
  features = tiny_study.rct_test.features
  predicted = method.predict(state, features)
  assert predicted.revenue.shape == (len(features), tiny_study.arms)
  assert np.isfinite(predicted.revenue).all()
  assert np.isfinite(predicted.cost).all()
  assert history[-1]["valid_mse"] < history[0]["valid_mse"]


def test_without_bound_both_output_layers_are_one(tiny_study, tiny_config):
  config = tiny_config(
    network__hidden=(),
    obs__batch=600,
    obs__epochs=1000,
    obs__learning_rate=0.01,
    obs__schedule="cosine",
    causal_embeddings__discrepancy=1e4,
  )
  stage, state, aux, block = entered("CausE", tiny_study, config)

  end = many_steps(stage, state, aux, block, 1000)
  logged, randomised = end.target["head"], end.target["randomised"]
  assert np.abs(randomised["bias"] - state.target["head"]["bias"]).max() > 0.1
  chex.assert_trees_all_close(logged, randomised, atol=1e-3)


def _least_squares(rows, arms):
  """Returns (kernel, bias) of each arm's regression of scaled outcomes."""
  inputs = np.column_stack([rows.features, np.ones(len(rows))])
  inputs = inputs.astype(np.float64)
  columns = []
  for observed in (rows.revenue, rows.cost):
    for arm in range(arms):
      mine = rows.arm == arm
      solved = np.linalg.lstsq(inputs[mine], np.float64(observed)[mine])[0]
      columns.append(solved)
  table = np.stack(columns, axis=1)
  return {"kernel": jnp.asarray(table[:-1]), "bias": jnp.asarray(table[-1])}


def test_without_discrepancy_each_layer_is_its_least_squares_fit(
  tiny_study, tiny_config
):
  with jax.enable_x64(True):
    config = tiny_config(network__hidden=(), causal_embeddings__discrepancy=0.0)
    scale = study_scale(tiny_study)
    obs, rct = (
      jax.tree.map(
        lambda x: jnp.asarray(x, float if x.dtype.kind == "f" else int),
        to_scaled(rows, scale),
      )
      for rows in (tiny_study.obs, tiny_study.rct_train)
    )
    params = {
      "head": _least_squares(obs, tiny_study.arms),
      "randomised": _least_squares(rct, tiny_study.arms),
    }
    network = make_target(config.network)

    def loss(params):
      return embeddings_loss(
        network, params, obs, rct, config.causal_embeddings
      )

    slope = jax.jit(jax.grad(loss))(params)
    for leaf in jax.tree.leaves(slope):
      np.testing.assert_allclose(leaf, 0, atol=1e-9)
    swapped = {"head": params["randomised"], "randomised": params["head"]}
    assert loss(swapped) > loss(params) + 1e-3


def test_discrepancy_by_hand_and_what_each_direction_moves():
  params = {
    "head": {"kernel": jnp.array([[1.0, 4.0]]), "bias": jnp.array([0.0, 1.0])},
    "randomised": {"kernel": jnp.zeros((1, 2)), "bias": jnp.zeros(2)},
  }
  assert discrepancy(params, direction="one") == pytest.approx(3.0)
  assert discrepancy(params, direction="both") == pytest.approx(6.0)
  known = discrepancy(params, direction="one", learn_cost=False)
  assert known == pytest.approx(1.0)
  for direction, moved in (("one", False), ("both", True)):
    slope = jax.grad(lambda p, d=direction: discrepancy(p, direction=d))(params)
    assert np.any(slope["randomised"]["kernel"]) == moved
    np.testing.assert_allclose(slope["head"]["kernel"], [[0.5, 0.5]])


def test_direction_says_which_side_predicts(tiny_config):
  network = make_target(tiny_config().network)
  one, both = (two_sided(network, name) for name in ("one", "both"))
  params = one.init(KEY, 3, 2)
  params["randomised"] = jax.tree.map(lambda x: x + 1, params["head"])
  x = jnp.ones((1, 3))
  chex.assert_trees_all_equal(one.apply(params, x), network.apply(params, x))
  assert np.all(both.apply(params, x).cost != one.apply(params, x).cost)
  with pytest.raises(ValueError, match="causal_embeddings.direction='all'"):
    methods.make("CausE", tiny_config(causal_embeddings__direction="all"))


def test_a_batch_of_padding_leaves_the_state_to_the_bit(
  tiny_study, tiny_config
):
  stage, state, aux, block = entered("CausE", tiny_study, tiny_config())
  step = jax.jit(stage.step)
  moved, _ = step(KEY, state, block, aux)
  assert moved.step == 1
  still, metrics = step(KEY, state, emptied(block), aux)
  chex.assert_trees_all_equal(still, state)
  assert not metrics["skipped"].any()
