"""Seeds side by side give what they give one after the other."""

import jax
import numpy as np
import pytest

from bidfcl_jax import data, methods, training
from bidfcl_jax.training.seeds import stack_padded

KEY = jax.random.key(12)


@pytest.fixture(
  scope="module",
  params=["FT", pytest.param("Bi-DFCL-PPL", marks=pytest.mark.slow)],
)
def both(request, tiny_config):
  """Returns (one after the other, side by side) on worlds of unequal size."""
  config = tiny_config(training__checkpoint="valid_mse")
  small = tiny_config(simulator__n_obs=500, simulator__n_rct=250)
  studies = [
    data.simulate(jax.random.key(k), c.simulator)
    for k, c in enumerate((config, small))
  ]
  keys = [jax.random.key(10), jax.random.key(11)]
  method = methods.make(request.param, config)
  alone = [
    training.fit(method, study, key, config)
    for study, key in zip(studies, keys, strict=True)
  ]
  return alone, training.fit_seeds(method, studies, keys, config, at_once=2)


def test_the_same_targets_up_to_rounding(both):
  for (one, _), (other, _) in zip(*both, strict=True):
    for a, b in zip(
      jax.tree.leaves(one.target), jax.tree.leaves(other.target), strict=True
    ):
      np.testing.assert_allclose(a, b, rtol=0.02, atol=2e-3)
    assert int(one.step) == int(other.step)


def test_the_same_records(both):
  for (_, one), (_, other) in zip(*both, strict=True):
    assert [(r["stage"], r["epoch"], r["step"]) for r in one] == [
      (r["stage"], r["epoch"], r["step"]) for r in other
    ]
    np.testing.assert_allclose(
      [r["valid_mse"] for r in one], [r["valid_mse"] for r in other], rtol=1e-3
    )


def test_padding_is_at_the_end_and_weighs_nothing():
  stacked = stack_padded([np.ones((3, 2)), np.ones((5, 2))])
  assert stacked.shape == (2, 5, 2)
  np.testing.assert_array_equal(stacked[0].sum(axis=1), [2, 2, 2, 0, 0])
  rows = stack_padded([np.zeros(1, np.int32), np.zeros(2, np.int32)], fill=-1)
  np.testing.assert_array_equal(rows, [[0, -1], [0, 0]])


def test_a_group_that_is_asked_stops_after_its_epoch(tiny_config):
  records, config = [], tiny_config()
  with pytest.raises(training.Stopped, match="group of seeds begins again"):
    training.fit_seeds(
      methods.make("TSM-SL-RCT", config),
      [data.simulate(jax.random.key(k), config.simulator) for k in (0, 1)],
      [jax.random.key(k) for k in (0, 1)],
      config,
      on_record=records.append,
      should_stop=lambda: True,
    )
  assert len(records) == 2


def test_a_group_needs_a_seed(tiny_config):
  method = methods.make("TSM-SL-RCT", tiny_config())
  with pytest.raises(ValueError, match="at_once=0"):
    training.fit_seeds(method, [], [], tiny_config(), at_once=0)


def test_known_propensities_reach_seeds_that_ask_for_them(tiny_config):
  config = tiny_config(propensity__oracle=True, obs__epochs=1)
  study = data.simulate(jax.random.key(0), config.simulator)
  method = methods.make("IPS", config)
  ((state, _),) = training.fit_seeds(method, [study], [KEY], config)
  alone, _ = training.fit(method, study, KEY, config)
  for a, b in zip(
    jax.tree.leaves(state.target), jax.tree.leaves(alone.target), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=0.02, atol=2e-3)
