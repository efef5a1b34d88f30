"""What is searched: every method, existing options, stratified draws."""

import math

import jax
import pytest

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods
from experiments.search_space import (
  SPACES,
  Choice,
  LogUniform,
  Times,
  draw_trials,
)

KEY = jax.random.key(3)
QUICK = config_lib.make("quick")


def test_every_method_has_a_space_of_existing_options_of_its_own():
  assert set(SPACES) == set(methods.names())
  known = set(config_lib.option_names())
  shared = ("simulator.", "hybrid.", "network.", "training.", "budget")
  for name, space in SPACES.items():
    assert space, name
    assert set(space) <= known, name
    assert not [option for option in space if option.startswith(shared)]


def test_the_rivals_sources_are_searched_as_ours_are():
  sources = {o for o in SPACES["Bi-DFCL-PPL"] if o.startswith(("obs", "fine"))}
  assert sources <= set(SPACES["FT"])
  for option in sources:
    assert SPACES["FT"][option] == SPACES["Bi-DFCL-PPL"][option]
  # The fine-tuning that beat everything on S3 (beyond.md 2) is in reach.
  space = SPACES["FT"]
  assert round(space["obs.epochs"].factors[-1] * QUICK.obs.epochs) == 30
  assert space["obs.weight_decay"].low < 0.3 < space["obs.weight_decay"].high
  assert "cosine" in space["obs.schedule"].values


@pytest.mark.parametrize("name", methods.names())
def test_every_drawn_trial_makes_the_method(name):
  trials = draw_trials(SPACES[name], QUICK, KEY, 9)
  assert trials[0] == {}
  for options in trials:
    methods.make(name, config_lib.with_options(QUICK, options))


def test_draws_are_a_function_of_key_and_option():
  first = draw_trials(SPACES["FT"], QUICK, KEY, 5)
  assert first == draw_trials(SPACES["FT"], QUICK, KEY, 5)
  assert first != draw_trials(SPACES["FT"], QUICK, jax.random.key(4), 5)
  ours = draw_trials(SPACES["Bi-DFCL-PPL"], QUICK, KEY, 5)
  for trial, other in zip(first, ours, strict=True):
    for option in set(trial) & set(other):
      assert trial[option] == other[option]
  assert draw_trials(SPACES["FT"], QUICK, KEY, 1) == [{}]


def test_values_lie_in_their_range_one_a_stratum():
  space = {
    "obs.learning_rate": LogUniform(1e-4, 1e-2),
    "obs.schedule": Choice(("constant", "cosine")),
    "obs.epochs": Times((0.5, 2.0)),
  }
  drawn = draw_trials(space, QUICK, KEY, 9)[1:]
  places = sorted(
    math.floor(8 * math.log(trial["obs.learning_rate"] / 1e-4) / math.log(100))
    for trial in drawn
  )
  # Three digits are kept: a value may cross the edge of its eighth.
  assert all(abs(a - b) <= 1 for a, b in enumerate(places))
  assert len(set(places)) >= 7
  for option, expected in (
    ("obs.schedule", ["constant", "cosine"]),
    ("obs.epochs", [6, 24]),
  ):
    values = [trial[option] for trial in drawn]
    assert sorted(values) == sorted(4 * expected)


def test_what_follows_another_option_is_not_drawn():
  assert QUICK.lower.epochs is None
  for trial in draw_trials(SPACES["Bi-DFCL-PPL"], QUICK, KEY, 4):
    assert "lower.epochs" not in trial
  plus = config_lib.make("quick", "plus")
  drawn = draw_trials(SPACES["Bi-DFCL-PPL"], plus, KEY, 4)[1:]
  assert {trial["lower.epochs"] for trial in drawn} == {4, 8, 16}
  assert Times((0.1,)).at(0.0, 3) == 1
