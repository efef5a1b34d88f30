import pytest

from bidfcl_jax import config, config_checks
from bidfcl_jax.bilevel.hypergradient import SOLVERS


def test_the_nearest_name_is_given():
  with pytest.raises(ValueError, match="did you mean 'bilevel.n_cg'"):
    config.make(overrides={"bilevel.ncg": 20})


def test_recipes_change_the_method_and_presets_the_sizes():
  letter = config.make("quick", "paper_letter")
  assert (letter.bilevel.labels, letter.bilevel.solver) == ("frozen_copy", "cg")
  assert letter.decision.price_gradient == "frozen"
  assert config.make("quick").decision.price_gradient == "total"
  world = config.make("quick", overrides={"simulator.kind": "S2"}).simulator
  assert (world.n_obs, world.n_rct, world.n_valid) == (60_000, 6_000, 3_000)


@pytest.mark.parametrize(
  ("overrides", "words"),
  [
    ({"bilevel.labels": "hard"}, "bilevel.labels"),
    ({"obs.epochs": 0}, "obs.batch"),
    ({"budget": -1.0}, "budget=-1.0"),
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


def test_the_solvers_of_the_settings_are_those_of_bilevel():
  assert set(SOLVERS) == set(config_checks._WORDS["bilevel.solver"])


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
    ({"decision.budgets": (0.5, 0.0)}, "positive multiples"),
    ({"lower.schedule": "step"}, "lower.schedule"),
  ],
)
def test_settings_that_contradict_each_other(overrides, words):
  with pytest.raises(ValueError, match=words):
    config.make("smoke", overrides=overrides)


def test_a_recipe_sees_the_sizes_of_the_preset():
  made = config.make("paper", "paper_letter")
  assert made.decision.rows == 4096
