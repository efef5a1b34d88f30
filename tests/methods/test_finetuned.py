"""Fine-tuning and its options, each against what it must agree with."""

import jax
import numpy as np
import pytest

from bidfcl_jax import methods, training

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def fitted(tiny_study, tiny_config):
  """Returns (name, options) -> fitted state."""

  def get(name, **options):
    config = tiny_config(**options)
    method = methods.make(name, config)
    return training.fit(method, tiny_study, KEY, config)[0]

  return get


@pytest.fixture(scope="module")
def plain(fitted):
  return fitted("FT")


def distance(a, b):
  return sum(
    float(np.sum((np.asarray(x) - np.asarray(y)) ** 2))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_a_pull_keeps_fine_tuning_near_the_obs_model(fitted):
  far, near = (
    fitted("FT", simple__pull=pull, finetune__learning_rate=0.01)
    for pull in (0.0, 10.0)
  )
  assert distance(far.anchor, near.anchor) == 0
  free = distance(far.target, far.anchor)
  assert 0 < distance(near.target, near.anchor) < 0.5 * free


def test_heads_alone_leave_the_trunk(fitted):
  state = fitted("FT", simple__layers="heads")
  for name in state.target:
    moved = distance(state.target[name], state.anchor[name])
    # The served target is an average of equal trunks, equal up to rounding.
    assert moved > 1e-7 if name == "head" else moved < 1e-11


def test_mean_of_weights_lies_between(fitted, plain):
  state = fitted("MEAN-W", simple__mean_weight=0.25)
  expected = jax.tree.map(
    lambda a, b: 0.75 * a + 0.25 * b, plain.anchor, plain.target
  )
  assert distance(state.target, expected) < 1e-10


@pytest.mark.parametrize(
  "option, value, message",
  [("layers", "top", "simple.layers='top'"), ("pull", -1.0, "not be negative")],
)
def test_an_option_out_of_range_is_named(tiny_config, option, value, message):
  with pytest.raises(ValueError, match=message):
    methods.make("FT", tiny_config(**{f"simple__{option}": value}))
