"""A smoke run with stored models, and files of individuals for it."""

import jax
import numpy as np
import polars as pl

from bidfcl_jax import config as config_lib
from bidfcl_jax import data
from bidfcl_jax.keys import stream
from bidfcl_jax.report import claim
from experiments import runner

SIZES = {
  "simulator.n_obs": 600,
  "simulator.n_rct": 400,
  "simulator.n_valid": 400,
  "simulator.n_test": 300,
  "network.hidden": (8,),
}


def make_run(folder, names=("TSM-SL-RCT",), seeds=(0,)):
  """Trains as experiments.train does, in this process."""
  config = config_lib.make("smoke", "recommended", SIZES)

  def load(seed):
    return data.simulate(
      stream(jax.random.key(seed), "study"), config.simulator
    )

  settings = {
    "data": "simulated",
    "methods": names,
    "seeds": seeds,
    **config_lib.as_dict(config),
  }
  plan = runner.Plan(names, seeds, config, load, {"data": "simulated"})
  with claim(folder, settings, "hash", command=["test"]) as workdir:
    runner.run(plan, workdir, lambda: False)
    workdir.finish({})
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
