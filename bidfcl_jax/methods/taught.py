"""What methods share that judge policies on RCT rows with a teacher at hand.

Bi-DFCL, FROZEN, DIRECT and DFCL remember the same things: the teacher's
networks, reference prices that bound lambda*, frozen temperatures, mu. This
file makes them when a stage is entered, and the arrays that its steps read.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from bidfcl_jax.config import Config, LowerConfig, SourceConfig
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.members import (
  empty_members,
  mean_in_chunks,
  mean_outcomes,
)
from bidfcl_jax.methods.method import State, study_budget, to_money
from bidfcl_jax.methods.objective import Sources, needs_obs
from bidfcl_jax.methods.pricing import Evidence, Pricing, needs_labels
from bidfcl_jax.methods.teachers import (
  Networks,
  members_count,
  start_stages,
  taught_on_rct,
)
from bidfcl_jax.methods.temperature import frozen_temperature
from bidfcl_jax.methods.updates import (
  go_on,
  money_apply,
  restart,
  total_steps,
)
from bidfcl_jax.models import Network
from bidfcl_jax.types import Outcomes, Samples, Study


@struct.dataclass
class TaughtState(State):
  """State of a method with a teacher and a decision loss.

  Attributes:
    members: teachers F_psi, stacked `[K, ...]`, frozen after their stages.
    pricing: price bounds, temperature and mu of the decision loss, `[B]`.
  """

  members: Any
  pricing: Pricing


class Fixed(NamedTuple):
  """aux of the stages that learn from taught OBS rows.

  Attributes:
    total: target steps of these stages together.
    taught: teacher's Outcomes on all OBS rows `[n_obs, M]`, scaled units.
    rct: RCT-train rows, with the teacher's Outcomes where the loss reads them.
    budgets: `[B]`, per capita.
  """

  total: jax.Array
  taught: Outcomes
  rct: Evidence
  budgets: jax.Array


class Parts(NamedTuple):
  """What the functions of one method share.

  Attributes:
    config: settings.
    lower: how the target reads OBS.
    networks: the target's and the teacher's.
    surrogate: of the decision loss; see methods/objective.py.
    bridge: G_phi, or None.
    bridge_adam: its optimiser, or None.
  """

  config: Config
  lower: SourceConfig
  networks: Networks
  surrogate: str
  bridge: Network | None = None
  bridge_adam: optax.GradientTransformation | None = None

  @property
  def target(self) -> Network:
    """F_theta on state.target."""
    return self.networks.target


def lower_source(config: Config, lower: LowerConfig) -> SourceConfig:
  """Returns how the target reads OBS: as `obs`, where `lower` is silent."""
  given = {k: v for k, v in vars(lower).items() if v is not None}
  return dataclasses.replace(config.obs, **given)


def taught_fields(config: Config, target: Any) -> dict[str, Any]:
  """Returns the initial fields of a TaughtState beyond those of State."""
  return {
    "members": empty_members(target, members_count(config)),
    "pricing": pricing_lib.empty_pricing(len(config.decision.budgets)),
  }


def budgets_of(config: Config, study: Study) -> np.ndarray:
  """Returns the budgets of the decision loss, `[B]`, per capita."""
  return study_budget(config, study) * np.asarray(config.decision.budgets)


def spread_rows(samples: Samples) -> Samples:
  """Returns ALL_ROWS rows at even distances, all where there are fewer.

  Not the first ones: a file may be sorted.
  """
  total = len(samples)
  count = min(total, pricing_lib.ALL_ROWS)
  rows = np.arange(count) * total // count
  return jax.tree.map(lambda x: jnp.asarray(x[rows]), samples)


def with_labels(parts: Parts, state, study: Study, samples) -> Evidence:
  """Returns RCT-train rows with the teacher's Outcomes where they are read."""
  config = parts.config
  labels = None
  if needs_labels(config.decision):
    labels = taught_on_rct(
      parts.networks.teacher,
      state.members,
      samples,
      state.scale,
      cross_fit=config.bilevel.cross_fit,
    )
  return Evidence(samples, jnp.asarray(study.propensity, float), labels)


def rct_evidence(parts: Parts, state, study: Study) -> Evidence:
  """Returns the RCT-train rows, on the device, with labels where needed."""
  samples = jax.tree.map(jnp.asarray, study.rct_train)
  return with_labels(parts, state, study, samples)


def taught_money(parts: Parts):
  """Returns (state, features) -> the teacher's Outcomes, original units."""

  def apply(state, features):
    taught = mean_outcomes(parts.networks.teacher, state.members, features)
    return to_money(taught, state.scale)

  return apply


def reference_rows(parts: Parts, state, study: Study) -> Evidence:
  """Returns rows of the population that lambda* answers for.

  They carry what spend is counted by in every later step: observed costs, or
  the teacher's outcomes.
  """
  if parts.config.decision.price_population == "rct":
    return with_labels(parts, state, study, spread_rows(study.rct_train))
  samples = spread_rows(study.obs)
  labels = jax.jit(taught_money(parts))(state, samples.features)
  share = jnp.asarray(study.propensity, float)
  return pricing_lib.on_labels(Evidence(samples, share, labels))


def reference_prices(config: Config, outcomes: Outcomes, rows, budgets):
  """Returns lambda* of each budget `[B]` at predictions on reference_rows."""
  estimator = pricing_lib.cost_estimator(config.decision)
  return jnp.stack(
    [
      pricing_lib.solve_price(
        outcomes, rows, float(b), config.decision, estimator=estimator
      )
      for b in budgets
    ]
  )


def bounded(config: Config, state, prices: jax.Array):
  """Returns the state with lambda* bounded around reference prices `[B]`."""
  bounds = jax.vmap(
    lambda price: pricing_lib.reference_bounds(price, config.decision)
  )(prices)
  return state.replace(pricing=state.pricing.replace(bounds=bounds))


def frozen_temperatures(config: Config, outcomes, samples, prices):
  """Returns the temperature that is frozen at each price, `[B]`."""
  return jax.vmap(
    lambda price: frozen_temperature(outcomes, samples, price, config.decision)
  )(prices)


def enter_taught(parts: Parts):
  """Returns an `enter`: the teacher's prices bound, the target begins."""
  config = parts.config
  own_start = start_stages(config, parts.target)
  begin = restart(parts.target, parts.lower)
  if config.bilevel.start == "finetuned":
    begin = go_on(parts.lower)

  def enter(key, state, study: Study):
    if config.bilevel.start == "finetuned" and not own_start:
      state = state.replace(target=jax.tree.map(lambda x: x[0], state.members))
    rows = reference_rows(parts, state, study)
    outcomes = jax.jit(taught_money(parts))(state, rows.samples.features)
    budgets = budgets_of(config, study)
    prices = reference_prices(config, outcomes, rows, budgets)
    return begin(key, bounded(config, state, prices), study)

  return enter


def enter_temperature(parts: Parts):
  """Returns an `enter` that freezes each budget's temperature at the target."""
  config = parts.config
  adaptive = config.decision.temperature[0] == "spread"

  def enter(key, state, study: Study):
    del key
    if adaptive:
      return state
    rows = reference_rows(parts, state, study)
    outcomes = jax.jit(money_apply(parts.target))(state, rows.samples.features)
    budgets = budgets_of(config, study)
    prices = reference_prices(config, outcomes, rows, budgets)
    taus = frozen_temperatures(config, outcomes, rows.samples, prices)
    return state.replace(pricing=state.pricing.replace(temperature=taus))

  return enter


def fixed_taught(parts: Parts):
  """Returns the `fixed` of stages that learn from taught OBS rows."""
  config, source = parts.config, parts.lower

  def fixed(state, study: Study) -> Fixed:
    return Fixed(
      total=total_steps(study, "obs", source, source.epochs),
      taught=mean_in_chunks(
        parts.networks.teacher, state.members, study.obs.features
      ),
      rct=rct_evidence(parts, state, study),
      budgets=jnp.asarray(budgets_of(config, study), float),
    )

  return fixed


def draw_sources(
  key: jax.Array, parts: Parts, block: Samples, taught: Outcomes, aux, scale
) -> Sources:
  """Returns the rows of one decision loss.

  Args:
    key: of the draw.
    parts: settings.
    block: OBS rows `[period, batch, ...]`, original units; they lend their
      covariates alone, where the settings ask for them.
    taught: the teacher's Outcomes of these rows, scaled units.
    aux: Fixed.
    scale: Scale.
  """
  config = parts.config.decision
  count = pricing_lib.rows_at_upper_level(config, len(aux.rct.samples))
  rct = pricing_lib.draw_rows(key, aux.rct, count)
  if not needs_obs(config):
    return Sources(rct)
  rows, taught = jax.tree.map(
    lambda x: x.reshape(-1, *x.shape[2:]), (block, taught)
  )
  obs = Evidence(rows, aux.rct.propensity, to_money(taught, scale))
  return Sources(rct, pricing_lib.on_labels(obs))
