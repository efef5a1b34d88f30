"""Stages brought to where training spends its time, ready to be timed.

A method's last stage is entered after a few epochs of the stages before it on
a simulated world, and runs as the trainer runs it: one jitted scan over blocks
of rows that are gathered on the device (training/epochs.py).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, methods
from bidfcl_jax.config import Config
from bidfcl_jax.data.batches import epoch_order
from bidfcl_jax.keys import stream
from bidfcl_jax.methods import Stage, State
from bidfcl_jax.training import fit
from bidfcl_jax.training.epochs import epoch_scan, start_stage
from bidfcl_jax.types import Study

# Sizes of performance.md: a few epochs suffice, since only time is of interest.
_SHORT = {
  "obs.epochs": 4,
  "rct.epochs": 2,
  "finetune.epochs": 2,
  "bilevel.warm_epochs": 2,
  "bilevel.warm_share": 0.5,
}
SHAPES = {
  "s1": {},
  "paper": {
    "simulator.n_obs": 40_960,
    "simulator.n_rct": 8_192,
    "simulator.n_valid": 2_000,
    "simulator.n_test": 2_000,
    "simulator.features": 192,
    "network.hidden": (128, 64, 32),
    "obs.batch": 4096,
    "rct.batch": 4096,
    "finetune.batch": 4096,
    "decision.rows": 4096,
  },
  "tiny": {
    "simulator.n_obs": 2_400,
    "simulator.n_rct": 300,
    "simulator.n_valid": 200,
    "simulator.n_test": 200,
    "network.hidden": (8,),
    "bilevel.bridge_hidden": (8,),
    "obs.batch": 60,
    "rct.batch": 64,
    "finetune.batch": 64,
  },
}
SHAPE = flags.DEFINE_enum(
  "shape", "s1", list(SHAPES), "s1 or paper: sizes of performance.md; tiny."
)
BATCHES = flags.DEFINE_integer("batches", 10, "batches of one timed call", 1)


def shape_config(shape: str, recipe: str, **changes: Any) -> Config:
  """Returns the settings of a shape; changes by `room__option`."""
  given = {name.replace("__", "."): value for name, value in changes.items()}
  return config_lib.make("quick", recipe, {**_SHORT, **SHAPES[shape], **given})


class Warmed(NamedTuple):
  """A study, and a state in front of its method's last stage."""

  study: Study
  state: State
  key: jax.Array


def warm(method: str, config: Config, study: Study, seed: int = 0) -> Warmed:
  """Trains all stages of a method but the last."""
  key = jax.random.key(seed)
  made = methods.make(method, config)
  state, _ = fit(made._replace(stages=made.stages[:-1]), study, key, config)
  return Warmed(study, state, key)


def simulated(config: Config) -> Study:
  """Draws the study of a configuration, one seed."""
  return data.simulate(jax.random.key(0), config.simulator).for_learners()


class Epoch(NamedTuple):
  """A stage ready to run.

  Attributes:
    scan: `epoch_scan` of its step.
    args: what follows the progress in its call.
    progress: where it begins; the scan donates it, so give it a copy.
    step: the stage's step.
    of_epoch: batches of a whole epoch.
  """

  scan: Callable
  args: tuple
  progress: Any
  step: Callable
  of_epoch: int

  def runner(self) -> Callable[[], jax.Array]:
    """Returns a function that trains on, call by call."""
    held = [jax.tree.map(jnp.copy, self.progress)]

    def run():
      held[0], metrics = self.scan(held[0], *self.args)
      return metrics

    return run


def last_stage(
  method: str,
  config: Config,
  warmed: Warmed,
  batches: int,
  edit: Callable[[Stage], Stage] = lambda stage: stage,
) -> Epoch:
  """Enters a method's last stage with a warmed state of the same structure.

  Args:
    method: a name of `methods.names()`.
    config: settings.
    warmed: from `warm`.
    batches: of one call, a multiple of the stage's period; beyond an epoch its
      blocks come again.
    edit: replaces the stage by a changed one.

  Raises:
    ValueError: batches that are not whole blocks.
  """
  stage = edit(methods.make(method, config).stages[-1])
  if batches % stage.period:
    raise ValueError(
      f"{batches} batches are not whole blocks of {stage.period}"
    )
  study = warmed.study
  key = stream(warmed.key, stage.name)
  state = stage.enter(stream(key, "enter"), warmed.state, study)
  part = jax.tree.map(jnp.asarray, data.part(study, stage.reads))
  order = epoch_order(
    stream(key, "order"), study, stage.reads, stage.batch, stage.period
  )
  rows = jnp.asarray(order[np.arange(batches // stage.period) % len(order)])
  return Epoch(
    scan=epoch_scan(stage.step, config.training.ema),
    args=(part, rows, 0, stream(key, "step"), stage.fixed(state, study)),
    progress=start_stage(state),
    step=stage.step,
    of_epoch=order.shape[0] * stage.period,
  )


def with_bilevel(config: Config, **changes: Any) -> Config:
  """Returns the settings with other options of `bilevel`."""
  return dataclasses.replace(
    config, bilevel=dataclasses.replace(config.bilevel, **changes)
  )
