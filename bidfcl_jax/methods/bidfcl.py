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
import numpy as np
import optax

from bidfcl_jax.config import Config, LowerConfig, SourceConfig
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.bridge_steps import (
  BridgedState,
  Fixed,
  Parts,
  lower_step,
  upper_step,
)
from bidfcl_jax.methods.members import empty_members, mean_outcomes
from bidfcl_jax.methods.method import (
  Method,
  Stage,
  study_budget,
  to_money,
  to_scaled,
)
from bidfcl_jax.methods.objective import needs_labels
from bidfcl_jax.methods.pricing import Evidence
from bidfcl_jax.methods.teachers import (
  Networks,
  make_networks,
  members_count,
  start_stages,
  taught_on_rct,
  teacher_stages,
)
from bidfcl_jax.methods.updates import (
  go_on,
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import make_bridge
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Study


def lower_source(config: Config, lower: LowerConfig) -> SourceConfig:
  """Returns how the target reads OBS: as `obs`, where `lower` is silent."""
  given = {k: v for k, v in vars(lower).items() if v is not None}
  return dataclasses.replace(config.obs, **given)


def _parts(config: Config, networks: Networks, surrogate: str) -> Parts:
  """Returns what the steps of a bridged method share."""
  bilevel = config.bilevel
  rate = bilevel.bridge_learning_rate
  if bilevel.solver == "explicit":
    rate *= bilevel.explicit_share
  return Parts(
    config=config,
    lower=lower_source(config, config.lower),
    target=networks.target,
    bridge=make_bridge(bilevel, config.network),
    bridge_adam=optax.adam(rate, eps=bilevel.bridge_eps),
    surrogate=surrogate,
  )


def _init(parts: Parts):
  """Returns the `init` of a method with a BridgedState."""
  config = parts.config
  plain = plain_init(parts.target, parts.lower)

  def init(key, study: Study) -> BridgedState:
    base = plain(key, study)
    features = study.rct_train.features.shape[1]
    bridge = parts.bridge.init(jax.random.fold_in(key, 1), features, study.arms)
    return BridgedState(
      **vars(base),
      members=empty_members(base.target, members_count(config)),
      bridge=bridge,
      bridge_optimiser=parts.bridge_adam.init(bridge),
      pricing=pricing_lib.empty_pricing(len(config.decision.budgets)),
      solution=jax.tree.map(jnp.zeros_like, base.target),
    )

  return init


def budgets_of(config: Config, study: Study) -> np.ndarray:
  """Returns the budgets of the decision loss, `[B]`, per capita."""
  return study_budget(config, study) * np.asarray(config.decision.budgets)


def _reference(parts: Parts, outcomes, study: Study) -> jax.Array:
  """Returns lambda* of each budget `[B]` at predictions on the RCT rows."""
  samples = jax.tree.map(lambda x: x[: pricing_lib.ALL_ROWS], study.rct_train)
  evidence = Evidence(
    samples, jnp.asarray(study.propensity, outcomes.revenue.dtype)
  )
  return jnp.stack(
    [
      pricing_lib.solve_price(
        outcomes, evidence, float(budget), parts.config.decision
      )
      for budget in budgets_of(parts.config, study)
    ]
  )


def _enter_warm(parts: Parts, networks: Networks):
  """Takes the teacher's prices as reference and begins the target."""
  config = parts.config
  own_start = start_stages(config, parts.target)
  begin = restart(parts.target, parts.lower)
  if config.bilevel.start == "finetuned":
    begin = go_on(parts.lower)

  def enter(key, state, study: Study):
    if config.bilevel.start == "finetuned" and not own_start:
      state = state.replace(target=jax.tree.map(lambda x: x[0], state.members))
    rows = study.rct_train.features[: pricing_lib.ALL_ROWS]
    outcomes = jax.jit(_taught_money(networks))(state, rows)
    bounds = jax.vmap(
      lambda price: pricing_lib.reference_bounds(price, config.decision)
    )(_reference(parts, outcomes, study))
    state = state.replace(pricing=state.pricing.replace(bounds=bounds))
    return begin(key, state, study)

  return enter


def _taught_money(networks: Networks):
  def apply(state, features):
    taught = mean_outcomes(networks.teacher, state.members, features)
    return to_money(taught, state.scale)

  return apply


def _enter_bilevel(parts: Parts):
  """Freezes the temperature of each budget at the warm start."""
  decision = parts.config.decision

  def enter(key, state, study: Study):
    del key
    samples = jax.tree.map(lambda x: x[: pricing_lib.ALL_ROWS], study.rct_train)
    outcomes = jax.jit(money_apply(parts.target))(state, samples.features)
    taus = jax.vmap(
      lambda price: pricing_lib.frozen_temperature(
        outcomes, samples, price, decision
      )
    )(_reference(parts, outcomes, study))
    return state.replace(pricing=state.pricing.replace(temperature=taus))

  return enter


def _fixed(parts: Parts, networks: Networks):
  config, source = parts.config, parts.lower

  def fixed(state, study: Study) -> Fixed:
    taught = apply_in_chunks(
      lambda members, x: mean_outcomes(networks.teacher, members, x),
      state.members,
      study.obs.features,
    )
    samples = jax.tree.map(jnp.asarray, study.rct_train)
    labels = None
    if needs_labels(config.decision):
      labels = jax.jit(
        lambda members, samples: taught_on_rct(
          networks.teacher,
          members,
          samples,
          state.scale,
          cross_fit=config.bilevel.cross_fit,
        )
      )(state.members, samples)
    return Fixed(
      total=total_steps(study, "obs", source, source.epochs),
      taught=jax.tree.map(jnp.asarray, taught),
      rct=Evidence(samples, jnp.asarray(study.propensity, float), labels),
      budgets=jnp.asarray(budgets_of(config, study), float),
    )

  return fixed


def _bridged_stage(
  parts: Parts,
  networks: Networks,
  name: str,
  epochs: int,
  enter,
  *,
  train_bridge: bool,
) -> Stage:
  """The warm start (no bridge update) or the bi-level stage."""
  bilevel = parts.config.bilevel
  keep = name == "bilevel"
  every = 1 if bilevel.solver == "explicit" else bilevel.upper_every

  def step(key, state, block, aux: Fixed):
    samples = to_scaled(block.samples, state.scale)
    taught = jax.tree.map(lambda x: x[block.rows], aux.taught)
    metrics = {}
    if train_bridge:
      state, metrics = upper_step(parts, key, state, block.samples, taught, aux)

    def one(state, batch):
      return lower_step(parts, state, *batch, aux)

    state, lower = jax.lax.scan(one, state, (samples, taught))
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
    fixed=_fixed(parts, networks),
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
    networks = make_networks(config)
    parts = _parts(config, networks, surrogate)
    share = int(parts.lower.epochs * config.bilevel.warm_share)
    warm = min(config.bilevel.warm_epochs, share)
    return Method(
      name=name,
      init=_init(parts),
      stages=(
        *teacher_stages(config, networks.teacher),
        *start_stages(config, networks.target),
        _bridged_stage(
          parts,
          networks,
          "warm",
          warm,
          _enter_warm(parts, networks),
          train_bridge=False,
        ),
        _bridged_stage(
          parts,
          networks,
          "bilevel",
          parts.lower.epochs - warm,
          _enter_bilevel(parts),
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
