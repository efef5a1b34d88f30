"""DFCL: one level, a decision loss beside the prediction loss, on RCT rows.

Zhou et al., KDD 2024, arXiv 2407.13664; the primal losses are the Bi-DFCL
paper's (baselines.md 2.4):

  L = alpha L_PL + L_surrogate / sd(revenue)

after a two-stage model, which gives the reference price, the temperature and
(`decision.warm_start`) the starting weights. DFCL-PPL and -PIFD solve lambda*
for the budget at every step; DFCL-DPL and -DIFD take a grid of prices, frozen
at those of the two-stage model for budgets spread over its range. FT-PPL is
DFCL-PPL started from the OBS model (row 2w: same data as Bi-DFCL, one level).
All read RCT rows alone: decision.covariates and price_population do not apply.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config, SourceConfig
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import policy_value, safe_ratio
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.members import store_stage
from bidfcl_jax.methods.method import Method, Stage, to_money, to_scaled
from bidfcl_jax.methods.objective import (
  Sources,
  check_surrogate,
  decision_loss,
  dual_terms,
  mean_surrogate,
)
from bidfcl_jax.methods.pricing import Evidence
from bidfcl_jax.methods.taught import (
  Parts,
  TaughtState,
  bounded,
  budgets_of,
  enter_temperature,
  rct_evidence,
  reference_prices,
  reference_rows,
  taught_fields,
)
from bidfcl_jax.methods.teachers import Networks
from bidfcl_jax.methods.two_stage import obs_stage, rct_stage
from bidfcl_jax.methods.updates import (
  go_on,
  guarded_update,
  money_apply,
  plain_init,
  restart,
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
  """

  prices: jax.Array


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


def dual_prices(config: Config, outcomes, study: Study) -> jax.Array:
  """Returns lambda*(b) at shares of the budget range `[G]`.

  The range ends at the spend, by IPW, of the model's policy without a budget.
  """
  shares = config.decision.grid
  if not shares:
    return reference_prices(
      config, outcomes, study, budgets_of(config, study)[:1]
    )
  rows = reference_rows(study)
  greedy = jax.nn.one_hot(
    jnp.argmax(outcomes.revenue, axis=1), outcomes.revenue.shape[1]
  )
  _, spend = policy_value(greedy, rows.samples, rows.propensity)
  return reference_prices(
    config, outcomes, study, [share * float(spend) for share in shares]
  )


def _enter(parts: Parts, source: SourceConfig):
  config = parts.config
  freeze = enter_temperature(parts)
  begin = restart(parts.target, source)
  if config.decision.warm_start:
    begin = go_on(source)

  def enter(key, state, study: Study):
    rows = reference_rows(study).samples
    outcomes = jax.jit(money_apply(parts.target))(state, rows.features)
    state = bounded(config, state, outcomes, study)
    state = freeze(key, state, study)
    state = state.replace(prices=dual_prices(config, outcomes, study))
    return begin(key, state, study)

  return enter


def balanced(samples, propensity):
  """Returns rows weighted so that each arm counts alike in a mean."""
  share = propensity[samples.arm]
  return samples.replace(weight=safe_ratio(samples.weight, share))


def _decision_stage(parts: Parts, source: SourceConfig, *, dual: bool) -> Stage:
  decision = parts.config.decision

  def money(state):
    return lambda theta, x: to_money(parts.target.apply(theta, x), state.scale)

  def surrogate(key, state, aux: Fixed):
    """Returns (theta -> loss, pricing, metrics)."""
    count = pricing_lib.rows_at_upper_level(decision, len(aux.rct.samples))
    rows = pricing_lib.draw_rows(key, aux.rct, count)
    if not dual:
      return decision_loss(
        money(state),
        state.target,
        Sources(rows),
        aux.budgets,
        state.pricing,
        decision,
        parts.surrogate,
      )
    features = rows.samples.features
    terms = dual_terms(
      money(state)(state.target, features),
      rows.samples.weight,
      state.prices,
      state.pricing.temperature[0],
      decision,
    )

    def loss(theta):
      outcomes = money(state)(theta, features)
      return mean_surrogate(outcomes, rows, terms, decision, parts.surrogate)

    return loss, state.pricing, {"price": jnp.mean(state.prices)}

  def step(key, state, block, aux: Fixed):
    def one(state, batch):
      key, samples = batch
      alive = jnp.sum(samples.weight) > 0
      judge, pricing, metrics = surrogate(key, state, aux)
      scaled = to_scaled(samples, state.scale)
      if decision.arm_balanced:
        scaled = balanced(scaled, aux.rct.propensity)

      def loss(target):
        predicted = parts.target.apply(target, scaled.features)
        prediction = factual_loss(
          predicted, scaled, learn_cost=state.scale.learn_cost
        )
        return decision.alpha * prediction + judge(target) / state.scale.revenue

      value, gradient = jax.value_and_grad(loss)(state.target)
      kept = jax.tree.map(
        lambda new, old: jnp.where(alive, new, old), pricing, state.pricing
      )
      metrics = {k: jnp.where(alive, v, jnp.nan) for k, v in metrics.items()}
      state, moved = guarded_update(
        state.replace(pricing=kept),
        value,
        gradient,
        samples.weight,
        source,
        aux.total,
      )
      return state, metrics | moved

    keys = jax.random.split(key, len(block.rows))
    return jax.lax.scan(one, state, (keys, block.samples))

  def fixed(state, study: Study) -> Fixed:
    return Fixed(
      total=total_steps(study, "rct", source, source.epochs),
      rct=rct_evidence(parts, state, study),
      budgets=jnp.asarray(budgets_of(parts.config, study), float),
    )

  return Stage(
    name="decision",
    reads="rct",
    batch=source.batch,
    epochs=source.epochs,
    period=1,
    keep=True,
    apply=money_apply(parts.target),
    enter=_enter(parts, source),
    fixed=fixed,
    step=step,
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
    decision = dataclasses.replace(
      config.decision, covariates="rct", price_population="rct"
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
    count = len(decision.grid) or 1

    def init(key, study: Study) -> DfclState:
      state = plain(key, study)
      return DfclState(
        **vars(state),
        **taught_fields(config, state.target),
        prices=jnp.zeros(count),
      )

    return Method(
      name=name,
      init=init,
      stages=(
        first(config, network),
        store_stage(0),
        _decision_stage(parts, source, dual=dual),
      ),
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
