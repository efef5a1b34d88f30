"""DFCL: one level, a decision loss beside the prediction loss, on RCT rows.

Zhou et al., KDD 2024, arXiv 2407.13664; the primal losses are the Bi-DFCL
paper's (baselines.md 2.4):

  L = alpha L_PL + L_surrogate / sd(revenue)

after a two-stage model, which gives the reference price, the temperature and
(`decision.warm_start`) the starting weights. DFCL-PPL and -PIFD solve lambda*
for the budget at every step; DFCL-DPL and -DIFD take a grid of prices, frozen
at those of the two-stage model for budgets spread over its range (without a
grid: for `decision.budgets`). FT-PPL is DFCL-PPL that starts from the OBS
model, always (row 2w: same data as Bi-DFCL, one level), with FT's options: a
pull simple.pull * |theta - theta_OBS|^2, or the heads alone.
All read RCT rows alone: decision.covariates and price_population do not apply.
Nor do outcomes=plugin (then ipw): the two-stage model stands where a teacher
would, and a policy that it judges learns nothing from RCT outcomes.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config, SourceConfig
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import safe_ratio
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.budgets import budgets_of
from bidfcl_jax.methods.finetuned import heads_alone, squared_distance
from bidfcl_jax.methods.members import store_stage
from bidfcl_jax.methods.method import Method, to_money
from bidfcl_jax.methods.objective import (
  Sources,
  check_surrogate,
  decision_loss,
  dual_terms,
  mean_surrogate,
)
from bidfcl_jax.methods.pricing import Evidence
from bidfcl_jax.methods.reference import (
  at_reference,
  bounded,
  dual_prices,
  frozen_temperatures,
)
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.taught import (
  Parts,
  TaughtState,
  rct_evidence,
  taught_fields,
)
from bidfcl_jax.methods.teachers import Networks
from bidfcl_jax.methods.two_stage import obs_stage, rct_stage
from bidfcl_jax.methods.updates import (
  go_on,
  guarded_update,
  money_apply,
  plain_init,
  reported,
  restart,
  select,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Study

LEAST_BATCH = 1000


@struct.dataclass
class DfclState(TaughtState):
  """State of DFCL; `members` holds the two-stage model.

  Attributes:
    prices: `[G]` of the dual losses; unread by the primal ones.
    temperatures: `[G]`, frozen at these prices; 0 where tau is adaptive.
  """

  prices: jax.Array
  temperatures: jax.Array


class Fixed(NamedTuple):
  """aux of the decision stage.

  Attributes:
    total: steps of the stage.
    rct: RCT-train rows, with the two-stage model's Outcomes where needed.
    budgets: `[B]`, per capita.
  """

  total: jax.Array
  rct: Evidence
  budgets: jax.Array


def _enter(parts: Parts, source: SourceConfig, *, restarts: bool):
  config = parts.config
  begin = restart(parts.target, source) if restarts else go_on(source)
  apply = money_apply(parts.target)

  def enter(key, state, study: Study):
    rows, outcomes, prices = at_reference(parts, apply, state, study)
    grid = dual_prices(config, outcomes, rows, study)

    def frozen(prices):
      return frozen_temperatures(config, outcomes, rows.samples, prices)

    state = bounded(config, state, prices)
    state = state.replace(
      pricing=state.pricing.replace(temperature=frozen(prices)),
      prices=grid,
      temperatures=frozen(grid),
    )
    return begin(key, state, study)

  return enter


def balanced(samples, propensity):
  """Returns rows weighted so that each arm counts alike in a mean."""
  share = propensity[samples.arm]
  return samples.replace(weight=safe_ratio(samples.weight, share))


def _decision_stage(
  parts: Parts, source: SourceConfig, enter, *, dual: bool, pull: float
):
  decision = parts.config.decision

  def judge_at(key, state, aux: Fixed):
    """Returns (theta -> decision loss, pricing, metrics)."""
    count = pricing_lib.rows_at_upper_level(decision, len(aux.rct.samples))
    rows = pricing_lib.draw_rows(key, aux.rct, count)

    def money(theta, features):
      return to_money(parts.target.apply(theta, features), state.scale)

    if not dual:
      return decision_loss(
        money,
        state.target,
        Sources(rows),
        aux.budgets,
        state.pricing,
        decision,
        parts.surrogate,
      )
    features = rows.samples.features
    terms = dual_terms(
      money(state.target, features),
      rows.samples.weight,
      state.prices,
      state.temperatures,
      decision,
    )

    def loss(theta):
      outcomes = money(theta, features)
      return mean_surrogate(outcomes, rows, terms, decision, parts.surrogate)

    return loss, state.pricing, {"price": jnp.mean(state.prices)}

  def learn(key, state, batch, aux: Fixed):
    samples = batch.samples
    alive = jnp.sum(samples.weight) > 0
    judge, pricing, metrics = judge_at(key, state, aux)
    counted = samples
    if decision.arm_balanced:
      counted = balanced(samples, aux.rct.propensity)

    def loss(target):
      predicted = parts.target.apply(target, samples.features)
      prediction = factual_loss(
        predicted, counted, learn_cost=state.scale.learn_cost
      )
      value = decision.alpha * prediction
      value += judge(target) / state.scale.revenue
      if pull:
        start = jax.tree.map(lambda leaf: leaf[0], state.members)
        value += pull * squared_distance(target, start)
      return value

    value, gradient = jax.value_and_grad(loss)(state.target)
    kept = select(alive, pricing, state.pricing)
    state, moved = guarded_update(
      state.replace(pricing=kept),
      value,
      gradient,
      samples.weight,
      source,
      aux.total,
    )
    return state, reported(alive, metrics) | moved

  def fixed(state, study: Study) -> Fixed:
    return Fixed(
      total=total_steps(study, "rct", source, source.epochs),
      rct=rct_evidence(parts, state, study),
      budgets=jnp.asarray(budgets_of(parts.config, study), float),
    )

  return batch_stage(
    source,
    learn,
    name="decision",
    reads="rct",
    apply=money_apply(parts.target),
    enter=enter,
    fixed=fixed,
  )


def make_dfcl(name: str, surrogate: str, *, dual: bool, start: str = "rct"):
  """Returns config -> Method of a two-stage model and the decision stage.

  Args:
    name: of the method.
    surrogate: see methods/objective.py.
    dual: prices from the grid (DPL, DIFD) in place of lambda*(b).
    start: the two-stage model learns from "rct" (DFCL) or "obs" (FT-PPL, whose
      decision stage then has the step size of fine-tuning).
  """

  def make(config: Config) -> Method:
    given = config.decision.outcomes
    decision = dataclasses.replace(
      config.decision,
      covariates="rct",
      price_population="rct",
      outcomes="ipw" if given == "plugin" else given,
    )
    bilevel = dataclasses.replace(
      config.bilevel, teacher="finetuned", cross_fit=False
    )
    config = dataclasses.replace(config, decision=decision, bilevel=bilevel)
    check_surrogate(decision, surrogate)
    network = make_target(config.network)
    base = config.rct if start == "rct" else config.finetune
    source = dataclasses.replace(base, batch=max(LEAST_BATCH, base.batch))
    parts = Parts(config, source, Networks(network, network), surrogate)
    first = rct_stage if start == "rct" else obs_stage
    plain = plain_init(network, source)
    count = len(decision.grid or decision.budgets)
    restarts = start == "rct" and not decision.warm_start

    def init(key, study: Study) -> DfclState:
      state = plain(key, study)
      return DfclState(
        **vars(state),
        **taught_fields(config, state.target, study),
        prices=jnp.zeros(count),
        temperatures=jnp.zeros(count),
      )

    decide = _decision_stage(
      parts,
      source,
      _enter(parts, source, restarts=restarts),
      dual=dual,
      pull=config.simple.pull if start == "obs" else 0.0,
    )
    if start == "obs" and config.simple.layers == "heads":
      decide = heads_alone(decide)
    return Method(
      name=name,
      init=init,
      stages=(first(config, network), store_stage(0), decide),
      predict=money_apply(network),
    )

  return make


METHODS = {
  "DFCL-DPL": make_dfcl("DFCL-DPL", "policy", dual=True),
  "DFCL-DIFD": make_dfcl("DFCL-DIFD", "finite_difference", dual=True),
  "DFCL-PPL": make_dfcl("DFCL-PPL", "policy", dual=False),
  "DFCL-PIFD": make_dfcl("DFCL-PIFD", "finite_difference", dual=False),
  "FT-PPL": make_dfcl("FT-PPL", "policy", dual=False, start="obs"),
}
