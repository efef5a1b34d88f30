"""Bi-DFCL (Algorithm 1): a bridge corrects what OBS data teach the target.

Stages: the teacher ("rct": TSM-SL on RCT; "finetuned": OBS, then RCT), a warm
start of the target on the lower level with the bridge untouched, and the
bi-level stage, where one step is one bridge update and then `upper_every`
target steps (bridge_steps.py).

FROZEN is the same without bridge updates: gates stay where they start.
"""

import jax
import jax.numpy as jnp
import optax

from bidfcl_jax.config import Config
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.bridge_steps import (
  BridgedState,
  Fixed,
  Parts,
  lower_step,
  upper_step,
)
from bidfcl_jax.methods.method import Method, Stage, study_budget, to_scaled
from bidfcl_jax.methods.two_stage import finetune_stage, obs_stage, rct_stage
from bidfcl_jax.methods.updates import (
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import make_bridge, make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Study


def _parts(config: Config) -> Parts:
  bilevel = config.bilevel
  return Parts(
    config=config,
    target=make_target(config.network),
    bridge=make_bridge(bilevel, config.network),
    bridge_adam=optax.adam(
      bilevel.bridge_learning_rate, eps=bilevel.bridge_eps
    ),
  )


def _warm_epochs(config: Config) -> int:
  share = int(config.obs.epochs * config.bilevel.warm_share)
  return min(config.bilevel.warm_epochs, share)


def _init(parts: Parts):
  plain = plain_init(parts.target, parts.config.obs)

  def init(key, study: Study) -> BridgedState:
    base = plain(key, study)
    features = study.rct_train.features.shape[1]
    bridge = parts.bridge.init(jax.random.fold_in(key, 1), features, study.arms)
    return BridgedState(
      **vars(base),
      teacher=base.target,
      bridge=bridge,
      bridge_optimiser=parts.bridge_adam.init(bridge),
      pricing=pricing_lib.empty_pricing(),
    )

  return init


def _reference_price(parts: Parts, state: BridgedState, study: Study):
  """Returns lambda*(b) of the target, its Outcomes, and the RCT rows used."""
  samples = jax.tree.map(lambda x: x[: pricing_lib.ALL_ROWS], study.rct_train)
  outcomes = jax.jit(money_apply(parts.target))(state, samples.features)
  price = pricing_lib.solve_price(
    outcomes,
    samples,
    jnp.asarray(study.propensity, outcomes.revenue.dtype),
    study_budget(parts.config, study),
    parts.config.decision,
  )
  return price, outcomes, samples


def _enter_warm(parts: Parts):
  """Freezes the teacher, takes its price as reference, draws a new target."""
  fresh = restart(parts.target, parts.config.obs)

  def enter(key, state, study: Study):
    price, *_ = _reference_price(parts, state, study)
    bounds = pricing_lib.reference_bounds(price, parts.config.decision)
    state = state.replace(
      teacher=state.target, pricing=state.pricing.replace(bounds=bounds)
    )
    return fresh(key, state, study)

  return enter


def _enter_bilevel(parts: Parts):
  """Freezes the temperature at the warm start."""

  def enter(key, state, study: Study):
    del key
    price, outcomes, samples = _reference_price(parts, state, study)
    tau = pricing_lib.frozen_temperature(
      outcomes, samples, price, parts.config.decision
    )
    return state.replace(pricing=state.pricing.replace(temperature=tau))

  return enter


def _fixed(parts: Parts):
  source = parts.config.obs

  def fixed(state, study: Study) -> Fixed:
    taught = apply_in_chunks(
      parts.target.apply, state.teacher, study.obs.features
    )
    return Fixed(
      total=total_steps(study, "obs", source, source.epochs),
      taught=jax.tree.map(jnp.asarray, taught),
      rct=jax.tree.map(jnp.asarray, study.rct_train),
      propensity=jnp.asarray(study.propensity, float),
      budget=jnp.asarray(study_budget(parts.config, study), float),
    )

  return fixed


def _bridged_stage(
  parts: Parts, name: str, epochs: int, enter, *, train_bridge: bool
) -> Stage:
  """The warm start (no bridge update) or the bi-level stage."""
  source, bilevel = parts.config.obs, parts.config.bilevel
  keep = name == "bilevel"

  def step(key, state, block, aux: Fixed):
    samples = to_scaled(block.samples, state.scale)
    taught = jax.tree.map(lambda x: x[block.rows], aux.taught)
    metrics = {}
    if train_bridge:
      first = jax.tree.map(lambda x: x[0], (samples, taught))
      state, metrics = upper_step(parts, key, state, *first, aux)

    def one(state, batch):
      return lower_step(parts, state, *batch, aux)

    state, lower = jax.lax.scan(one, state, (samples, taught))
    return state, metrics | lower

  return Stage(
    name=name,
    reads="obs",
    batch=source.batch,
    epochs=epochs,
    period=bilevel.upper_every if keep else 1,
    keep=keep,
    apply=money_apply(parts.target),
    enter=enter,
    fixed=_fixed(parts),
    step=step,
  )


def make_bridged(name: str, *, train_bridge: bool):
  """Returns config -> Method of teacher, warm start and bi-level stage."""

  def make(config: Config) -> Method:
    parts = _parts(config)
    teacher = (rct_stage,)
    if config.bilevel.teacher == "finetuned":
      teacher = (obs_stage, finetune_stage)
    warm = _warm_epochs(config)
    return Method(
      name=name,
      init=_init(parts),
      stages=(
        *(stage(config, parts.target) for stage in teacher),
        _bridged_stage(
          parts, "warm", warm, _enter_warm(parts), train_bridge=False
        ),
        _bridged_stage(
          parts,
          "bilevel",
          config.obs.epochs - warm,
          _enter_bilevel(parts),
          train_bridge=train_bridge,
        ),
      ),
      predict=money_apply(parts.target),
    )

  return make


METHODS = {
  "FROZEN": make_bridged("FROZEN", train_bridge=False),
  "Bi-DFCL-PPL": make_bridged("Bi-DFCL-PPL", train_bridge=True),
}
