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
from bidfcl_jax.methods.members import empty_members, mean_outcomes
from bidfcl_jax.methods.method import State, study_budget, to_money
from bidfcl_jax.methods.objective import (
  Sources,
  needs_labels,
  needs_obs,
)
from bidfcl_jax.methods.pricing import Evidence, Pricing
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
from bidfcl_jax.models.chunks import apply_in_chunks
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


def reference_rows(study: Study) -> Evidence:
  """Returns the RCT rows on which reference prices are solved."""
  samples = jax.tree.map(lambda x: x[: pricing_lib.ALL_ROWS], study.rct_train)
  return Evidence(samples, jnp.asarray(study.propensity, float))


def reference_prices(config: Config, outcomes: Outcomes, study, budgets):
  """Returns lambda* of each budget `[B]` at predictions on reference_rows."""
  rows = reference_rows(study)
  return jnp.stack(
    [
      pricing_lib.solve_price(outcomes, rows, float(b), config.decision)
      for b in budgets
    ]
  )


def bounded(config: Config, state, outcomes: Outcomes, study: Study):
  """Returns the state with lambda* bounded around that of the predictions."""
  prices = reference_prices(config, outcomes, study, budgets_of(config, study))
  bounds = jax.vmap(
    lambda price: pricing_lib.reference_bounds(price, config.decision)
  )(prices)
  return state.replace(pricing=state.pricing.replace(bounds=bounds))


def enter_taught(parts: Parts):
  """Returns an `enter`: the teacher's prices bound, the target begins."""
  config = parts.config
  own_start = start_stages(config, parts.target)
  begin = restart(parts.target, parts.lower)
  if config.bilevel.start == "finetuned":
    begin = go_on(parts.lower)

  def taught_money(state, features):
    taught = mean_outcomes(parts.networks.teacher, state.members, features)
    return to_money(taught, state.scale)

  def enter(key, state, study: Study):
    if config.bilevel.start == "finetuned" and not own_start:
      state = state.replace(target=jax.tree.map(lambda x: x[0], state.members))
    rows = reference_rows(study).samples.features
    outcomes = jax.jit(taught_money)(state, rows)
    return begin(key, bounded(config, state, outcomes, study), study)

  return enter


def enter_temperature(parts: Parts):
  """Returns an `enter` that freezes each budget's temperature at the target."""
  config = parts.config

  def enter(key, state, study: Study):
    del key
    samples = reference_rows(study).samples
    outcomes = jax.jit(money_apply(parts.target))(state, samples.features)
    prices = reference_prices(
      config, outcomes, study, budgets_of(config, study)
    )
    taus = jax.vmap(
      lambda price: frozen_temperature(
        outcomes, samples, price, config.decision
      )
    )(prices)
    return state.replace(pricing=state.pricing.replace(temperature=taus))

  return enter


def rct_evidence(parts: Parts, state, study: Study) -> Evidence:
  """Returns the RCT-train rows, on the device, with labels where needed."""
  config = parts.config
  samples = jax.tree.map(jnp.asarray, study.rct_train)
  labels = None
  if needs_labels(config.decision):
    labels = jax.jit(
      lambda members, samples: taught_on_rct(
        parts.networks.teacher,
        members,
        samples,
        state.scale,
        cross_fit=config.bilevel.cross_fit,
      )
    )(state.members, samples)
  return Evidence(samples, jnp.asarray(study.propensity, float), labels)


def fixed_taught(parts: Parts):
  """Returns the `fixed` of stages that learn from taught OBS rows."""
  config, source = parts.config, parts.lower

  def fixed(state, study: Study) -> Fixed:
    taught = apply_in_chunks(
      lambda members, x: mean_outcomes(parts.networks.teacher, members, x),
      state.members,
      study.obs.features,
    )
    return Fixed(
      total=total_steps(study, "obs", source, source.epochs),
      taught=jax.tree.map(jnp.asarray, taught),
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
