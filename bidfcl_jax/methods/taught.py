"""What methods share that judge policies on RCT rows with a teacher at hand.

Bi-DFCL, FROZEN, DIRECT and DFCL remember the same things: the teacher's
networks, reference prices that bound lambda*, frozen temperatures, mu. This
file has their state and the arrays that their steps read; what is settled when
a stage is entered is in reference.py.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bidfcl_jax.config import Config, LowerConfig, SourceConfig
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.budgets import budgets_of, check_budget
from bidfcl_jax.methods.members import empty_members, mean_in_chunks
from bidfcl_jax.methods.method import (
  State,
  to_money,
  to_scaled,
)
from bidfcl_jax.methods.objective import Sources, needs_obs
from bidfcl_jax.methods.pricing import Evidence, Pricing, needs_labels
from bidfcl_jax.methods.teachers import (
  Networks,
  has_origins,
  members_count,
  taught_on_rct,
)
from bidfcl_jax.methods.updates import total_steps
from bidfcl_jax.models import Network
from bidfcl_jax.types import Outcomes, Samples, Study


@struct.dataclass
class TaughtState(State):
  """State of a method with a teacher and a decision loss.

  Attributes:
    members: teachers F_psi, stacked `[K, ...]`, frozen after their stages.
    origins: the OBS models that they began from, stacked, or None.
    pricing: price bounds, temperature and mu of the decision loss, `[B]`.
  """

  members: Any
  origins: Any
  pricing: Pricing


class Fixed(NamedTuple):
  """aux of the stages that learn from taught OBS rows.

  Attributes:
    total: target steps of these stages together.
    taught: teacher's Outcomes on all OBS rows `[n_obs, M]`, scaled units.
    labels: what the lower level learns of these rows where that is more than
      the teacher's word (`bilevel.teacher_share`), or None.
    rct: RCT-train rows, with the teacher's Outcomes where the loss reads them.
    budgets: `[B]`, per capita.
  """

  total: jax.Array
  taught: Outcomes
  labels: Outcomes | None
  rct: Evidence
  budgets: jax.Array

  def at(self, rows: jax.Array) -> tuple[Outcomes, Outcomes]:
    """Returns (teacher's Outcomes, labels of the lower level) of OBS rows."""
    taught = jax.tree.map(lambda x: x[rows], self.taught)
    if self.labels is None:
      return taught, taught
    return taught, jax.tree.map(lambda x: x[rows], self.labels)


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


def taught_fields(config: Config, target: Any, study: Study) -> dict[str, Any]:
  """Returns the initial fields of a TaughtState beyond those of State.

  Raises:
    ValueError: a budget that no policy can meet.
  """
  check_budget(config, study)
  members = empty_members(target, members_count(config))
  return {
    "members": members,
    "origins": members if has_origins(config) else None,
    "pricing": pricing_lib.empty_pricing(len(config.decision.budgets)),
  }


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


def mixed_labels(
  taught: Outcomes, origin: Outcomes, samples: Samples, share: float
) -> Outcomes:
  """Returns share * taught + (1 - share) * b, `[n, M]`, scaled units.

  b is the observed outcome in the received cell and the OBS model's elsewhere.

  Args:
    taught: the teacher's.
    origin: the OBS model's.
    samples: the rows, scaled units.
    share: g, in [0, 1].
  """
  seen = jax.nn.one_hot(samples.arm, taught.revenue.shape[1], dtype=bool)

  def mix(teacher, model, observed):
    return share * teacher + (1 - share) * jnp.where(
      seen, observed[:, None], model
    )

  return Outcomes(
    mix(taught.revenue, origin.revenue, samples.revenue),
    mix(taught.cost, origin.cost, samples.cost),
  )


def fixed_taught(parts: Parts):
  """Returns the `fixed` of stages that learn from taught OBS rows."""
  config, source = parts.config, parts.lower

  def of_obs(members, study: Study) -> Outcomes:
    teacher = parts.networks.teacher
    return mean_in_chunks(teacher, members, study.obs.features)

  def fixed(state, study: Study) -> Fixed:
    taught, labels = of_obs(state.members, study), None
    if has_origins(config):
      labels = mixed_labels(
        taught,
        of_obs(state.origins, study),
        to_scaled(study.obs, state.scale),
        config.bilevel.teacher_share,
      )
    return Fixed(
      total=total_steps(study, "obs", source, source.epochs),
      taught=taught,
      labels=labels,
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
