"""What holds for every method that has a name."""

import importlib.util

import jax
import pytest

from bidfcl_jax import methods
from bidfcl_jax.keys import stream
from bidfcl_jax.methods import forest
from bidfcl_jax.report import table_order

NAMES = [
  pytest.param(
    name,
    marks=pytest.mark.skipif(
      name in forest.METHODS and importlib.util.find_spec("econml") is None,
      reason="the extra `forest` is not installed",
    ),
  )
  for name in methods.names()
]
# Of different State classes; the rest, with their compilations, is slow.
QUICK = ("CausE", "FT", "AVG2", "Bi-DFCL-PPL")
KEY = jax.random.key(5)


def shapes(state):
  return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)


@pytest.mark.parametrize("name", methods.names())
def test_stages_have_names_of_their_own(name, tiny_config):
  method = methods.make(name, tiny_config())
  assert method.name == name
  names = [stage.name for stage in method.stages]
  assert len(set(names)) == len(names)
  assert bool(names) == (method.fit is None) == (method.init is not None)


@pytest.mark.parametrize("name", methods.names())
def test_tables_know_the_name(name):
  # Unknown names follow the last known one, the oracle.
  assert table_order(["ORACLE", name]) == [name, "ORACLE"]


def entered(name, study, config):
  """Yields the state's shapes after init and after each stage's enter."""
  method = methods.make(name, config)
  if method.fit is not None:
    pytest.skip("fits itself: no stage to enter")
  study = study.for_learners()
  state = method.init(stream(KEY, "init"), study)
  yield shapes(state)
  for stage in method.stages:
    state = stage.enter(stream(KEY, stage.name), state, study)
    yield shapes(state)


def check(name, study, config):
  first, *later = entered(name, study, config)
  for after in later:
    assert jax.tree.structure(after) == jax.tree.structure(first)
    assert after == first


@pytest.mark.parametrize("name", QUICK)
def test_entering_a_stage_keeps_the_state_s_structure(
  name, tiny_study, tiny_config
):
  check(name, tiny_study, tiny_config(simple__members=2))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_entering_keeps_the_structure_of_every_method(
  name, tiny_study, tiny_config
):
  check(name, tiny_study, tiny_config(simple__members=2))
