"""DIRECT: the teacher's labels and the decision loss in one level (ours).

The single-level twin of the recipe `plus` (beyond.md 4): the same teacher, the
same plug-in decision loss at several budgets, no bridge:

  L = L_PL(teacher's labels of all cells of OBS rows) + weight L_decision / rbar

at every batch, rbar the mean revenue of the RCT. Where only value counts it is
the simpler choice, and no two-level variant beat it in the prototypes.
"""

import dataclasses

import jax
import jax.numpy as jnp

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import cell_loss, teacher_cells
from bidfcl_jax.losses.value import safe_ratio, weighted_mean
from bidfcl_jax.methods.method import Method, Stage, to_money
from bidfcl_jax.methods.objective import decision_loss
from bidfcl_jax.methods.reference import enter_taught, enter_temperature
from bidfcl_jax.methods.taught import (
  Fixed,
  Parts,
  TaughtState,
  draw_sources,
  fixed_taught,
  lower_source,
  taught_fields,
)
from bidfcl_jax.methods.teachers import (
  make_networks,
  start_stages,
  teacher_stages,
)
from bidfcl_jax.methods.updates import (
  guarded_update,
  money_apply,
  plain_init,
  reported,
  select,
)
from bidfcl_jax.types import Study


def _enter(parts: Parts):
  begin, freeze = enter_taught(parts), enter_temperature(parts)

  def enter(key, state, study: Study):
    return freeze(key, begin(key, state, study), study)

  return enter


def _direct_stage(parts: Parts) -> Stage:
  config = parts.config
  decision = config.decision

  def step(key, state, block, aux: Fixed):
    taught, labels = aux.at(block.rows)
    rct = aux.rct.samples
    unit = weighted_mean(rct.revenue, rct.weight)

    def money(theta, features):
      return to_money(parts.target.apply(theta, features), state.scale)

    def one(state, batch):
      key, samples, label = batch
      judge, pricing, metrics = decision_loss(
        money,
        state.target,
        draw_sources(key, parts, block.samples, taught, aux, state.scale),
        aux.budgets,
        state.pricing,
        decision,
        parts.surrogate,
      )
      cells = teacher_cells(label, learn_cost=state.scale.learn_cost)

      def loss(theta):
        predicted = parts.target.apply(theta, samples.features)
        lower = cell_loss(predicted, cells, samples.weight)
        return lower + config.direct.weight * safe_ratio(judge(theta), unit)

      value, gradient = jax.value_and_grad(loss)(state.target)
      alive = jnp.sum(samples.weight) > 0
      kept = select(alive, pricing, state.pricing)
      state, moved = guarded_update(
        state.replace(pricing=kept),
        value,
        gradient,
        samples.weight,
        parts.lower,
        aux.total,
      )
      return state, reported(alive, metrics) | moved

    keys = jax.random.split(key, len(block.rows))
    return jax.lax.scan(one, state, (keys, block.samples, labels))

  return Stage(
    name="direct",
    reads="obs",
    batch=parts.lower.batch,
    epochs=parts.lower.epochs,
    period=config.bilevel.upper_every,
    keep=True,
    apply=money_apply(parts.target),
    enter=_enter(parts),
    fixed=fixed_taught(parts),
    step=step,
  )


def make_direct(config: Config) -> Method:
  """DIRECT: its decision loss and reading of OBS are `config.direct`."""
  bilevel = dataclasses.replace(
    config.bilevel, teacher="ensemble", start="finetuned"
  )
  config = dataclasses.replace(
    config, bilevel=bilevel, decision=config.direct.decision
  )
  lower = lower_source(config, config.direct.lower)
  parts = Parts(config, lower, make_networks(config), "policy")
  plain = plain_init(parts.target, lower)

  def init(key, study: Study) -> TaughtState:
    base = plain(key, study)
    return TaughtState(
      **vars(base), **taught_fields(config, base.target, study)
    )

  return Method(
    name="DIRECT",
    init=init,
    stages=(
      *teacher_stages(config, parts.networks.teacher),
      *start_stages(config, parts.target),
      _direct_stage(parts),
    ),
    predict=money_apply(parts.target),
  )


METHODS = {"DIRECT": make_direct}
