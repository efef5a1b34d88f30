"""A tiny run with a stored model, and files of individuals for it."""

import jax
import numpy as np
import polars as pl

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, methods
from bidfcl_jax.keys import stream
from bidfcl_jax.report import Result, claim
from experiments import runner

SIZES = {
  "simulator.n_obs": 600,
  "simulator.n_rct": 400,
  "simulator.n_valid": 400,
  "simulator.n_test": 300,
  "network.hidden": (8,),
}


def make_run(folder, name="TSM-SL-RCT", seed=0):
  """Writes what experiments.train leaves of a method that learnt nothing.

  Untrained, since a fit's compilation is most of its time here; test_train
  checks that a real run stores its models.
  """
  config = config_lib.make("smoke", "recommended", SIZES)
  key = jax.random.key(seed)
  study = data.simulate(stream(key, "study"), config.simulator)
  settings = {
    "data": "simulated",
    "methods": [name],
    "seeds": [seed],
    **config_lib.as_dict(config),
  }
  plan = runner.Plan((name,), (seed,), config, None, {"data": "simulated"})
  method = methods.make(name, config)
  state = method.init(key, study)
  with claim(folder, settings, "hash", command=["test"]) as workdir:
    fit = runner.fit_folder(workdir.path, name, seed)
    runner.store(plan, method, state, study, seed, fit)
    workdir.log(Result(name, seed, {"eom": 1.0}).to_record())
  return folder


def people(rows=500, seed=0, features=12):
  """Returns raw individuals with an id and eligibility of five arms."""
  rng = np.random.default_rng(seed)
  columns = {"who": [f"p{i}" for i in range(rows)]}
  columns |= {f"x{j}": rng.standard_normal(rows) for j in range(features)}
  for j in range(5):
    columns[f"may{j}"] = (rng.random(rows) < 0.6) | (j == 0)
  return pl.DataFrame(columns)


MAY = tuple(f"may{j}" for j in range(5))
