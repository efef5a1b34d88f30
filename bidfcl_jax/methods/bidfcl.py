"""Bi-DFCL (Algorithm 1): a bridge corrects what OBS data teach the target.

Stages: the teacher (teachers.py), a warm start of the target on the lower level
with the bridge untouched, and the bi-level stage, where one step is one bridge
update and then `upper_every` target steps (bridge_steps.py). The explicit
methods (A.5) differentiate through one step and update the bridge every batch.

FROZEN is the same without bridge updates: the bridge stays where it starts.
With the recipe `plus` that is distillation of the teacher into the target.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from bidfcl_jax.config import Config
from bidfcl_jax.methods.bridge_steps import (
  BridgedState,
  lower_step,
  upper_step,
)
from bidfcl_jax.methods.method import Method, Stage, to_scaled
from bidfcl_jax.methods.objective import check_surrogate
from bidfcl_jax.methods.reference import enter_taught, enter_temperature
from bidfcl_jax.methods.taught import (
  Fixed,
  Parts,
  fixed_taught,
  lower_source,
  taught_fields,
)
from bidfcl_jax.methods.teachers import (
  make_networks,
  start_stages,
  teacher_stages,
)
from bidfcl_jax.methods.updates import money_apply, plain_init
from bidfcl_jax.models import make_bridge
from bidfcl_jax.types import Study


def make_parts(config: Config, surrogate: str) -> Parts:
  """Returns the networks, the bridge and its optimiser of a bi-level method."""
  bilevel = config.bilevel
  rate = bilevel.bridge_learning_rate
  if bilevel.solver == "explicit":
    rate *= bilevel.explicit_share
  return Parts(
    config=config,
    lower=lower_source(config, config.lower),
    networks=make_networks(config),
    surrogate=surrogate,
    bridge=make_bridge(bilevel, config.network),
    bridge_adam=optax.adam(rate, eps=bilevel.bridge_eps),
  )


def _init(parts: Parts):
  plain = plain_init(parts.target, parts.lower)

  def init(key, study: Study) -> BridgedState:
    base = plain(key, study)
    features = study.rct_train.features.shape[1]
    bridge = parts.bridge.init(jax.random.fold_in(key, 1), features, study.arms)
    return BridgedState(
      **vars(base),
      **taught_fields(parts.config, base.target, study),
      bridge=bridge,
      bridge_optimiser=parts.bridge_adam.init(bridge),
      solution=jax.tree.map(jnp.zeros_like, base.target),
    )

  return init


def _bridged_stage(
  parts: Parts, name: str, epochs: int, enter, *, train_bridge: bool
) -> Stage:
  """The warm start (no bridge update) or the bi-level stage."""
  bilevel = parts.config.bilevel
  keep = name == "bilevel"
  every = 1 if bilevel.solver == "explicit" else bilevel.upper_every

  def step(key, state, block, aux: Fixed):
    samples = to_scaled(block.samples, state.scale)
    lesson = aux.at(block.rows)
    metrics = {}
    if train_bridge:
      state, metrics = upper_step(parts, key, state, block.samples, lesson, aux)

    def one(state, batch):
      return lower_step(parts, state, *batch, aux)

    _, labels = lesson
    state, lower = jax.lax.scan(one, state, (samples, labels))
    return state, metrics | lower

  return Stage(
    name=name,
    reads="obs",
    batch=parts.lower.batch,
    epochs=epochs,
    period=every if keep else 1,
    keep=keep,
    apply=money_apply(parts.target),
    enter=enter,
    fixed=fixed_taught(parts),
    step=step,
  )


def make_bridged(
  name: str,
  *,
  train_bridge: bool = True,
  surrogate: str = "policy",
  solver: str | None = None,
):
  """Returns config -> Method of teacher, warm start and bi-level stage.

  Args:
    name: of the method.
    train_bridge: False leaves the bridge where it starts.
    surrogate: of the decision loss; see methods/objective.py.
    solver: hypergradient of the method, where its name says it.
  """

  def make(config: Config) -> Method:
    if solver is not None:
      bilevel = dataclasses.replace(config.bilevel, solver=solver)
      config = dataclasses.replace(config, bilevel=bilevel)
    check_surrogate(config.decision, surrogate)
    bilevel = config.bilevel
    if bilevel.teacher_share < 1 and bilevel.bridge != "additive":
      raise ValueError(
        f"bilevel.teacher_share={bilevel.teacher_share} is the share in labels "
        f"of bilevel.bridge=additive, not {bilevel.bridge}"
      )
    parts = make_parts(config, surrogate)
    share = int(parts.lower.epochs * config.bilevel.warm_share)
    # The checkpoint rule chooses among bi-level epochs: one is left to it.
    last = max(parts.lower.epochs - 1, 0)
    warm = min(config.bilevel.warm_epochs, share, last)
    return Method(
      name=name,
      init=_init(parts),
      stages=(
        *teacher_stages(config, parts.networks.teacher),
        *start_stages(config, parts.target),
        _bridged_stage(
          parts, "warm", warm, enter_taught(parts), train_bridge=False
        ),
        _bridged_stage(
          parts,
          "bilevel",
          parts.lower.epochs - warm,
          enter_temperature(parts),
          train_bridge=train_bridge,
        ),
      ),
      predict=money_apply(parts.target),
    )

  return make


METHODS = {
  "FROZEN": make_bridged("FROZEN", train_bridge=False),
  "Bi-DFCL-PPL": make_bridged("Bi-DFCL-PPL"),
  "Bi-DFCL-PIFD": make_bridged("Bi-DFCL-PIFD", surrogate="finite_difference"),
  "Bi-DFCL-PPL-explicit": make_bridged(
    "Bi-DFCL-PPL-explicit", solver="explicit"
  ),
  "Bi-DFCL-PIFD-explicit": make_bridged(
    "Bi-DFCL-PIFD-explicit", surrogate="finite_difference", solver="explicit"
  ),
}
