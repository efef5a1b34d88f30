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


# Ranges of baselines.md 0: what it names is in reach, whatever else is.
@pytest.mark.parametrize(
  ("names", "option", "low", "high"),
  [
    (("TSM-CF-RCT", "TSM-CF-OBS"), "forest.depth", 16, 24),
    (("TSM-CF-RCT", "TSM-CF-OBS"), "forest.leaf", 100, 300),
    (("DHCL",), "dhcl.l2", 2.5e-5, 3e-2),
    (
      ("DFCL-DPL", "DFCL-DIFD", "DFCL-PPL", "DFCL-PIFD"),
      "decision.alpha",
      0.1,
      10,
    ),
    (("IPS", "DR-JT"), "propensity.cap", 5, 100),
    (("CFR-WASS",), "cfr.weight", 1e-3, 1),
    (("CFR-WASS",), "cfr.sweeps", 10, 50),
    (("CFR-MMD",), "cfr.weight", 1e-3, 10),
    (("DragonNet",), "dragonnet.propensity_weight", 0.1, 1),
    (("DragonNet",), "dragonnet.targeted_weight", 0, 1),
    (("CausE",), "causal_embeddings.discrepancy", 1e-3, 10),
    (("KD-Label",), "distill.label_weight", 1e-5, 1),
    (("KD-Feature",), "distill.feature_weight", 0.1, 0.9),
    (("LTD-IPS", "LTD-DR"), "debias.meta_learning_rate", 1e-3, 5e-3),
    (("LTD-IPS", "LTD-DR"), "debias.meta_decay", 1e-2, 1e-1),
    (("AutoDebias",), "debias.imputation_weight", 0.01, 1),
    (("UNION-w",), "simple.union_weight", 0.1, 0.9),
    (("FT", "FT-PPL"), "simple.pull", 1e-4, 1e-1),
  ],
)
def test_the_ranges_of_the_table_are_in_reach(names, option, low, high):
  for name in names:
    values = SPACES[name][option]
    if isinstance(values, LogUniform):
      assert values.low <= low and values.high >= high
    else:
      assert {low, high} <= set(values.values)


def test_a_temperature_keeps_its_kind_and_every_policy_loss_has_one():
  letter = config_lib.make("quick", "paper_letter")
  for config, kind in ((QUICK, "spread"), (letter, "gap")):
    assert config.decision.temperature[0] == kind
    drawn = draw_trials(SPACES["DFCL-PPL"], config, KEY, 9)[1:]
    kinds, factors = zip(
      *(t["decision.temperature"] for t in drawn), strict=True
    )
    assert set(kinds) == {kind} and set(factors) == {0.1, 0.5, 2.0, 5.0}
  for name in ("DFCL-DPL", "DFCL-DIFD", "DFCL-PPL", "FT-PPL", "Bi-DFCL-PPL"):
    assert "decision.temperature" in SPACES[name]


def test_what_follows_another_option_is_not_drawn():
  assert QUICK.lower.epochs is None
  for trial in draw_trials(SPACES["Bi-DFCL-PPL"], QUICK, KEY, 4):
    assert "lower.epochs" not in trial
  plus = config_lib.make("quick", "plus")
  drawn = draw_trials(SPACES["Bi-DFCL-PPL"], plus, KEY, 4)[1:]
  assert {trial["lower.epochs"] for trial in drawn} == {4, 8, 16}
  assert Times((0.1,)).at(0.0, 3) == 1
  letter = config_lib.make("quick", "paper_letter")
  assert letter.bilevel.assumed_learning_rate is None
  for trial in draw_trials(SPACES["Bi-DFCL-PPL-explicit"], letter, KEY, 4):
    assert "bilevel.assumed_learning_rate" not in trial
