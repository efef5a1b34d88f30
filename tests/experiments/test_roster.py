"""Methods that are named must run; of `all`, those that can."""

import importlib.util

import pytest

from bidfcl_jax import methods
from experiments import roster

FEW = ("TSM-SL-RCT", "TSM-CF-RCT", "Bi-DFCL-PIFD")


@pytest.fixture
def bare(monkeypatch):
  """A short registry, and no econml."""
  monkeypatch.setattr(methods, "names", lambda: FEW)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_all_runs_what_can_run_and_says_what_not(
  bare, tiny_study, tiny_config, capsys
):
  config = tiny_config("plus")
  found = roster.runnable(["all"], "method", lambda _: config, tiny_study)
  assert found == ("TSM-SL-RCT",)
  forest, pifd = capsys.readouterr().err.splitlines()
  assert "skipped TSM-CF-RCT" in forest and "forest" in forest
  assert "skipped Bi-DFCL-PIFD" in pifd and "decision.outcomes=plugin" in pifd


@pytest.mark.parametrize("name", FEW[1:])
def test_a_named_method_that_cannot_run_is_an_error(
  name, bare, tiny_study, tiny_config
):
  config = tiny_config("plus")
  with pytest.raises(ValueError, match=f"--method={name} cannot run"):
    roster.runnable([name], "method", lambda _: config, tiny_study)


def test_settings_are_the_method_s_own(bare, tiny_study, tiny_config):
  def config_of(name):
    return tiny_config("recommended" if name == FEW[2] else "plus")

  found = roster.runnable(["all"], "method", config_of, tiny_study)
  assert found == (FEW[0], FEW[2])


def test_names():
  assert roster.known_names(["FT", "AVG", "FT"], "method") == ("FT", "AVG")
  assert roster.known_names(["all"], "method") == methods.names()
  with pytest.raises(ValueError, match="did you mean FT"):
    roster.known_names(["FTT"], "method")
  with pytest.raises(ValueError, match="names no method"):
    roster.known_names([], "method")
