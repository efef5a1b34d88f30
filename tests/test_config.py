import pytest

from bidfcl_jax import config


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
