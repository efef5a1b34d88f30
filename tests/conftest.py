"""Shared fixtures: one tiny study and its settings."""

import jax
import pytest

from bidfcl_jax import config, data

TINY = {
  "simulator.n_obs": 600,
  "simulator.n_rct": 300,
  "simulator.n_valid": 200,
  "simulator.n_test": 200,
  "network.hidden": (8,),
  "obs.epochs": 3,
  "obs.batch": 128,
  "rct.epochs": 3,
  "rct.batch": 64,
  "finetune.epochs": 2,
  "finetune.batch": 64,
}


@pytest.fixture(scope="session")
def tiny_config():
  """Returns overrides -> Config of a study that trains in a second."""

  def make(recipe="recommended", **overrides):
    extra = {k.replace("__", "."): v for k, v in overrides.items()}
    return config.make("smoke", recipe, {**TINY, **extra})

  return make


@pytest.fixture(scope="session")
def tiny_study(tiny_config):
  return data.simulate(jax.random.key(0), tiny_config().simulator)
