"""Fine-tuning's options by one step each, MEAN-W by its closed form."""

import jax
import numpy as np
import pytest
from methods.simple_rivals import KEY, entered, first_rows, gradient, untrained

from bidfcl_jax import methods


def one_step(study, config):
  """Returns the state before and after a step away from the OBS model."""
  stage = methods.make("FT", config).stages[-1]
  _, state = entered("FT", study, config)
  state = state.replace(target=untrained(9, study, config))
  block = first_rows(study.rct_train, 64)
  new, _ = jax.jit(stage.step)(KEY, state, block, stage.fixed(state, study))
  return state, new


def assert_close(a, b, **tolerance):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, **tolerance)


def test_the_pull_is_the_gradient_of_the_squared_distance(
  tiny_study, tiny_config
):
  _, free = one_step(tiny_study, tiny_config())
  before, pulled = one_step(tiny_study, tiny_config(simple__pull=0.5))
  expected = jax.tree.map(
    lambda g, now, anchor: g + 2 * 0.5 * (now - anchor),
    gradient(free),
    before.target,
    before.anchor,
  )
  assert_close(gradient(pulled), expected, rtol=1e-4, atol=1e-6)
  assert not np.allclose(before.target["head"]["kernel"], 0)


def test_heads_alone_leave_the_trunk_to_the_bit(tiny_study, tiny_config):
  before, after = one_step(tiny_study, tiny_config(simple__layers="heads"))
  for name in before.target:
    same = jax.tree.map(np.array_equal, before.target[name], after.target[name])
    assert all(jax.tree.leaves(same)) == (name != "head")


def test_fine_tuning_remembers_where_it_began(tiny_study, tiny_config):
  config = tiny_config()
  obs = untrained(4, tiny_study, config)
  _, state = entered("FT", tiny_study, config, target=obs)
  assert_close(state.anchor, obs, rtol=0)


def test_mean_of_weights_lies_between(tiny_study, tiny_config):
  config = tiny_config(simple__mean_weight=0.25)
  first, last = (untrained(k, tiny_study, config) for k in (1, 2))
  _, state = entered("MEAN-W", tiny_study, config, anchor=first, target=last)
  expected = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, first, last)
  assert_close(state.target, expected, rtol=1e-6)


@pytest.mark.parametrize(
  "option, value, message",
  [("layers", "top", "simple.layers='top'"), ("pull", -1.0, "at least 0")],
)
def test_an_option_out_of_range_is_named(tiny_config, option, value, message):
  with pytest.raises(ValueError, match=message):
    methods.make("FT", tiny_config(**{f"simple__{option}": value}))
