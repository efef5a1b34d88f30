"""Fine-tuning: the simple rival that every table shows (baselines.md 6).

FT      an OBS network goes on with RCT rows at a smaller step size; options:
        a pull pull * |theta - theta_OBS|^2, or the heads alone
MEAN-W  weights (1 - w) theta_OBS + w theta_FT, the midpoint by default
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.members import host_stage
from bidfcl_jax.methods.method import Method, Stage, State
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.two_stage import obs_stage
from bidfcl_jax.methods.updates import (
  go_on,
  money_apply,
  plain_init,
  schedule,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.types import Study


@struct.dataclass
class AnchoredState(State):
  """State of FT and MEAN-W.

  Attributes:
    anchor: parameters of the OBS model, where fine-tuning began.
  """

  anchor: Any


def squared_distance(one: Any, two: Any) -> jax.Array:
  """Returns the sum of squared differences over all leaves."""
  gaps = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), one, two)
  return sum(jax.tree.leaves(gaps))


def _init(network: Network, config: Config) -> Callable:
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> AnchoredState:
    base = plain(key, study)
    return AnchoredState(**vars(base), anchor=base.target)

  return init


def anchored_finetune(config: Config, network: Network) -> Stage:
  """The RCT stage of FT, which remembers where it began."""
  source, simple = config.finetune, config.simple
  begin = go_on(source)

  def enter(key, state, study: Study):
    return begin(key, state.replace(anchor=state.target), study)

  def loss(target, samples, rows, state, aux):
    del rows, aux
    predicted = network.apply(target, samples.features)
    value = factual_loss(predicted, samples, learn_cost=state.scale.learn_cost)
    if simple.pull:
      value += simple.pull * squared_distance(target, state.anchor)
    return value, {}

  stage = loss_stage(
    source,
    loss,
    apply=money_apply(network),
    enter=enter,
    fixed=schedule("rct", source),
    name="finetune",
    reads="rct",
  )
  return heads_alone(stage) if simple.layers == "heads" else stage


def heads_alone(stage: Stage) -> Stage:
  """The same stage, which moves the target's heads and leaves its trunk."""

  def step(key, state, block, aux):
    # Decay moves the trunk even where its gradient is stopped.
    new, metrics = stage.step(key, state, block, aux)
    heads = state.target | {"head": new.target["head"]}
    return new.replace(target=heads), metrics

  return stage._replace(step=step)


def make_finetuned(config: Config) -> Method:
  """FT: OBS, then RCT."""
  network = make_target(config.network)
  return Method(
    name="FT",
    init=_init(network, config),
    stages=(obs_stage(config, network), anchored_finetune(config, network)),
    predict=money_apply(network),
  )


def make_mean_of_weights(config: Config) -> Method:
  """MEAN-W: a point between the OBS model's weights and FT's."""
  method = make_finetuned(config)
  share = config.simple.mean_weight

  def enter(key, state, study: Study):
    del key, study
    target = jax.tree.map(
      lambda first, last: (1 - share) * first + share * last,
      state.anchor,
      state.target,
    )
    return state.replace(target=target)

  return method._replace(
    name="MEAN-W", stages=(*method.stages, host_stage("mean", enter))
  )


METHODS = {"FT": make_finetuned, "MEAN-W": make_mean_of_weights}
