import numpy as np
import pytest

from bidfcl_jax import config, config_checks
from bidfcl_jax.bilevel.hypergradient import SOLVERS
from bidfcl_jax.config_ranges import RANGES
from bidfcl_jax.losses import distances


def test_the_nearest_name_is_given():
  with pytest.raises(ValueError, match="did you mean 'bilevel.n_cg'"):
    config.make(overrides={"bilevel.ncg": 20})


@pytest.mark.parametrize(
  ("option", "value", "words"),
  [
    ("bilevel.n_cg", "a", "bilevel.n_cg='a' must be a whole number"),
    ("bilevel.n_cg", 2.5, "a whole number"),
    ("bilevel.n_cg", True, "a whole number"),
    ("bilevel.cross_fit", 1, "true or false"),
    ("network.hidden", 8, "a list, each entry a whole number"),
    ("decision.temperature", 2.0, "a list of 2: a word, a number"),
    ("decision.temperature", ("gap",), "a list of 2"),
    ("lower.epochs", "x", "a whole number or None"),
    ("bilevel", 3, "bilevel is a group of options.*bilevel.bridge"),
    ("distill.label_form", "zzz", "bridge, refine"),
    ("hybrid.test", 3, "above 0 and below 1"),
    ("simulator.gamma", "a", "a number"),
  ],
)
def test_an_option_holds_values_of_its_type(option, value, words):
  with pytest.raises(ValueError, match=words):
    config.make(overrides={option: value})


def test_numbers_and_lists_become_what_an_option_holds():
  made = config.make(
    overrides={
      "budget": 2,
      "bilevel.n_cg": np.int32(7),
      "simulator.gamma": np.float32(0.5),
      "network.hidden": [8, 4],
      "decision.temperature": ["gap", 1],
    }
  )
  assert isinstance(made.budget, float) and made.budget == 2
  assert isinstance(made.bilevel.n_cg, int) and made.bilevel.n_cg == 7
  assert made.simulator.gamma == 0.5 and made.network.hidden == (8, 4)
  assert made.decision.temperature == ("gap", 1.0)


def test_recipes_change_the_method_and_presets_the_sizes():
  letter = config.make("quick", "paper_letter")
  assert (letter.bilevel.labels, letter.bilevel.solver) == ("frozen_copy", "cg")
  assert letter.decision.price_gradient == "frozen"
  assert config.make("quick").decision.price_gradient == "total"
  world = config.make("quick", overrides={"simulator.kind": "S2"}).simulator
  assert (world.n_obs, world.n_rct, world.n_valid) == (60_000, 6_000, 3_000)
  forest = config.make("quick").forest
  assert (forest.trees, forest.rows) == (64, 20_000)
  assert config.make("paper").forest == config.Config().forest


@pytest.mark.parametrize(
  ("overrides", "words"),
  [
    ({"bilevel.labels": "hard"}, "bilevel.labels"),
    ({"obs.epochs": 0}, "obs.epochs=0 must be at least 1"),
    ({"budget": -1.0}, "budget=-1.0 must be at least 0"),
    ({"budget": float("nan")}, "budget=nan"),
    ({"lower.epochs": 0}, "lower.epochs=0"),
    ({"simple.members": 0}, "simple.members=0 must be at least 1"),
    ({"bilevel.max_residual": float("nan")}, "bilevel.max_residual=nan"),
    ({"training.ema": 1.0}, "at least 0 and below 1"),
    ({"dragonnet.floor": 0.0}, "above 0 and at most 1"),
    ({"network.hidden": (8, 0)}, "network.hidden"),
    ({"decision.grid": (0.5, -0.1)}, "decision.grid"),
    (
      {"debias.auto_learning_rates": (1e-3, -1.0, 1e-3)},
      "debias.auto_learning",
    ),
    ({"decision.temperature": ("spread", 0.0)}, "must be above 0"),
    ({"direct.decision.temperature": ("absolute", -1.0)}, "direct.decision.te"),
    ({"decision.price_clip": 0.5}, "above 1, or 0 for no clip"),
    ({"cfr.form": "sharp"}, "cfr.form='sharp'"),
    ({"cfr.kernel": "cubic"}, "cfr.kernel='cubic'"),
    ({"decision.temperature": ("warm", 1.0)}, "decision.temperature"),
  ],
)
def test_values_out_of_range_name_the_option(overrides, words):
  with pytest.raises(ValueError, match=words):
    config.make(overrides=overrides)


def test_user_values_come_last():
  made = config.make("smoke", "fast", {"bilevel.n_cg": 7})
  assert made.bilevel.n_cg == 7
  assert made.bilevel.bridge_hidden == (16,)


def test_words_of_the_settings_are_those_of_the_code():
  words = config_checks._WORDS
  assert set(SOLVERS) == set(words["bilevel.solver"])
  assert distances.FORMS == words["cfr.form"]
  assert distances.KERNELS == words["cfr.kernel"]


def test_every_number_has_a_range_and_every_range_an_option():
  made = config.make()
  names = config.option_names()
  assert set(RANGES) <= set(names)
  # The worlds and the hybrid are checked by what makes them.
  elsewhere = ("simulator.", "hybrid.")
  free = {
    "network.last_scale",
    "bilevel.bridge_last_scale",
    "bilevel.gate_start",
  }
  for name in names:
    value = config.value_of(made, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not name.startswith(elsewhere):
      assert name in RANGES or name in free or name.endswith("price_clip"), name


def test_what_follows_another_option_has_no_range_to_keep():
  made = config.make(overrides={"bilevel.assumed_learning_rate": None})
  assert made.lower.batch is None


@pytest.mark.parametrize(
  ("overrides", "words"),
  [
    ({"bilevel.solver": "cgg"}, "cg_gauss_newton"),
    ({"decision.covariates": "both"}, "never its outcome"),
    (
      {"direct.decision.outcomes": "ipw"},
      "direct.decision.covariates=both needs",
    ),
    ({"bilevel.cross_fit": True}, "teacher=ensemble"),
    ({"decision.budgets": (0.5, 0.0)}, "budgets=.* must be above 0"),
    ({"decision.budgets": ()}, "budgets is empty"),
    ({"lower.schedule": "step"}, "lower.schedule"),
  ],
)
def test_settings_that_contradict_each_other(overrides, words):
  with pytest.raises(ValueError, match=words):
    config.make("smoke", overrides=overrides)


def test_a_recipe_sees_the_sizes_of_the_preset():
  made = config.make("paper", "paper_letter")
  assert made.decision.rows == 4096
  own = config.make("quick", "paper_letter", {"rct.batch": 2000})
  assert own.decision.rows == 2000


def test_plus_has_a_rich_teacher_of_the_preset_s_size():
  for preset, hidden in (("smoke", (16, 16)), ("paper", (128, 64, 32))):
    made = config.make(preset, "plus", {"network.hidden": ()})
    assert not made.teacher.own_class
    assert made.teacher.hidden == hidden
