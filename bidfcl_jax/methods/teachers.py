"""Teachers of bi-level and direct methods: how many, of which class, on what.

"rct"        TSM-SL on RCT (the paper)
"finetuned"  trained on OBS, then on RCT
"ensemble"   the mean of K fine-tuned networks

A teacher may be of a larger class than the served target (`teacher.own_class`
False): both then live side by side in state.target while they are trained,
since a state's structure never changes. With `cross_fit` member k leaves fold k
of the RCT out, so that RCT outcomes can be compared with predictions of members
that have not seen them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import Config, NetworkConfig
from bidfcl_jax.methods.members import (
  mean_in_chunks,
  member_stages,
  store_stage,
)
from bidfcl_jax.methods.method import Scale, Stage, to_money
from bidfcl_jax.methods.two_stage import finetune_stage, obs_stage, rct_stage
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Array, Outcomes


class TwoClasses(NamedTuple):
  """Parameters of a served target and of a teacher of another class."""

  served: Any
  teacher: Any


class Networks(NamedTuple):
  """The two networks on state.target; one and the same where the class is."""

  target: Network
  teacher: Network


def teacher_config(config: Config) -> Config:
  """Returns the settings that teachers learn with."""
  own = config.teacher
  if own.own_class:
    return config
  network = NetworkConfig(
    own.hidden, own.activation, config.network.last_scale, config.network.remat
  )
  return dataclasses.replace(
    config,
    network=network,
    obs=own.obs,
    rct=own.finetune,
    finetune=own.finetune,
  )


def make_networks(config: Config) -> Networks:
  """Makes the target's and the teacher's network, both on state.target."""
  target = make_target(config.network)
  if config.teacher.own_class:
    return Networks(target, target)
  teacher = make_target(teacher_config(config).network)

  def init(key, features, arms):
    return TwoClasses(
      target.init(key, features, arms), teacher.init(key, features, arms)
    )

  def view(network: Network, field: str) -> Network:
    def on(function):
      return lambda params, x: function(getattr(params, field), x)

    return Network(init, on(network.apply), on(network.represent))

  return Networks(view(target, "served"), view(teacher, "teacher"))


def members_count(config: Config) -> int:
  """Returns K, how many networks the teacher is the mean of."""
  ensemble = config.bilevel.teacher == "ensemble"
  return config.simple.members if ensemble else 1


def has_origins(config: Config) -> bool:
  """Whether the teacher's OBS models are kept beside it."""
  return config.bilevel.teacher_share < 1


def fold_of(group: Array, folds: int) -> Array:
  """Returns the fold of each row, `[n]`; a household is never cut."""
  return group % folds


def without_fold(stage: Stage, fold: int, folds: int) -> Stage:
  """The same stage blind to one fold of its rows."""

  def step(key, state, block, aux):
    samples = block.samples
    kept = fold_of(samples.group, folds) != fold
    samples = samples.replace(weight=samples.weight * kept)
    return stage.step(key, state, block._replace(samples=samples), aux)

  return stage._replace(step=step)


def teacher_stages(config: Config, network: Network) -> tuple[Stage, ...]:
  """Returns the stages that train the teacher.

  Args:
    config: settings.
    network: the teacher's, on state.target.

  Returns:
    Stages; at their end state.members holds the teacher, and state.origins the
    OBS models that its members began from, where labels read them.
  """
  own = teacher_config(config)
  if config.bilevel.teacher == "rct":
    return (rct_stage(own, network), store_stage(0))
  stages, fold, origin = [], 0, 0
  for stage in member_stages(own, network, members_count(config)):
    if config.bilevel.cross_fit and stage.epochs and stage.reads == "rct":
      stage = without_fold(stage, fold, config.simple.members)
      fold += 1
    stages.append(stage)
    if has_origins(config) and stage.reads == "obs":
      stages.append(store_stage(origin, "origins"))
      origin += 1
  return tuple(stages)


def start_stages(config: Config, network: Network) -> tuple[Stage, ...]:
  """Returns the stages that give the target its start, after the teacher's.

  Args:
    config: settings.
    network: the target's, on state.target.

  Returns:
    () where the target starts new or where the first member is its class's
    fine-tuned network already.
  """
  bilevel = config.bilevel
  same = config.teacher.own_class and bilevel.teacher != "rct"
  if bilevel.start == "new" or (same and not bilevel.cross_fit):
    return ()
  return (obs_stage(config, network), finetune_stage(config, network))


@functools.lru_cache(maxsize=64)
def _every_member(network: Network) -> Callable:
  # One function a network: a new one at every fit would be compiled anew.
  return jax.vmap(network.apply, in_axes=(0, None), out_axes=1)


def unseen_outcomes(network: Network, members: Any, samples) -> Outcomes:
  """Returns the prediction of a row by the member that has not seen it.

  Args:
    network: the members'.
    members: stacked `[K, ...]`; member k was blind to fold k of K.
    samples: RCT rows.

  Returns:
    Outcomes `[n, M]` on the host, scaled units.
  """
  every = apply_in_chunks(_every_member(network), members, samples.features)
  folds = len(jax.tree.leaves(members)[0])
  fold = fold_of(np.asarray(samples.group), folds)
  rows = np.arange(len(samples))
  return jax.tree.map(lambda cells: cells[rows, fold], every)


def taught_on_rct(
  network: Network, members: Any, samples, scale: Scale, *, cross_fit: bool
) -> Outcomes:
  """Returns the teacher's Outcomes of RCT rows `[n, M]`, original units.

  Args:
    network: the teacher's.
    members: stacked `[K, ...]`.
    samples: RCT rows.
    scale: Scale.
    cross_fit: a row gets the prediction of the member that did not see it;
      else the mean of all members.
  """
  if cross_fit:
    taught = unseen_outcomes(network, members, samples)
  else:
    taught = mean_in_chunks(network, members, samples.features)
  return to_money(jax.tree.map(jnp.asarray, taught), scale)
