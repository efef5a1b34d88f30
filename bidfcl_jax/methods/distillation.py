"""Distillation from the RCT to OBS rows (Liu et al., SIGIR 2020, KDCRec).

A teacher F_psi (TSM-SL on RCT, frozen) guides a student on OBS rows.

  KD-Label    "bridge"  MSE_t + l2 mean over drawn cells of (F - F_psi)^2; cells
                        of all arms and both outcomes, drawn anew in each batch
              "refine"  MSE_t against (1 - q) y + q F_psi,t
  KD-Feature  "hint"    (1 - q) MSE_t + q mean (h - h_psi)^2 on the last hidden
                        layer, the student's trunk begins as the teacher's
              "init"    MSE_t, the trunk begins as the teacher's
              "concat"  MSE_t, the output layer reads h and the frozen h_psi

The student begins from the weights of TSM-SL on OBS and sees its batches, so
that KD-Label with l2 = 0 is that method to the bit; KD-Feature with q = 0
differs from it by where the trunk begins.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import received, weighted_mean
from bidfcl_jax.methods.method import Method, State, to_money
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.two_stage import rct_stage
from bidfcl_jax.methods.updates import (
  guarded_update,
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Outcomes, Samples, Study


@struct.dataclass
class TaughtState(State):
  """State of a student.

  Attributes:
    teacher: F_psi, frozen after its stage.
  """

  teacher: Any


class Taught(NamedTuple):
  """aux of the student's stage.

  Attributes:
    total: steps of the stage.
    outcomes: the teacher's on all OBS rows `[n_obs, M]`, scaled units; None
      where the teacher's hidden layer is asked for instead (too wide to keep
      for all rows).
  """

  total: jax.Array
  outcomes: Outcomes | None


def distilled_cells(
  key: jax.Array,
  predicted: Outcomes,
  taught: Outcomes,
  weight: jax.Array,
  *,
  share: float,
  learn_cost: bool = True,
) -> jax.Array:
  """Returns the mean of (F - F_psi)^2 over randomly drawn cells.

  Args:
    key: draws the cells.
    predicted: F, `[n, M]`, scaled units.
    taught: F_psi, the same.
    weight: `[n]`, 0 for padding.
    share: probability of each cell.
    learn_cost: False where the arms' costs are known: their cells count 0.

  Returns:
    Scalar; 0 where no cell was drawn.
  """
  gaps = jax.tree.map(lambda a, b: (a - b) ** 2, predicted, taught)
  squares = jnp.stack([gaps.revenue, gaps.cost])
  drawn = jax.random.bernoulli(key, share, squares.shape)
  cells = drawn * weight[:, None]
  if not learn_cost:
    cells = cells.at[1].set(0)
  return weighted_mean(squares, cells)


def refined(samples: Samples, taught: Outcomes, share: float) -> Samples:
  """Returns rows with labels (1 - share) y + share F_psi,t."""

  def mix(observed, cells):
    return (1 - share) * observed + share * received(cells, samples.arm)

  return samples.replace(
    revenue=mix(samples.revenue, taught.revenue),
    cost=mix(samples.cost, taught.cost),
  )


def hint(mine: jax.Array, taught: jax.Array, weight: jax.Array) -> jax.Array:
  """Returns the mean over rows and units of (h - h_psi)^2, `[n, h]` each."""
  return weighted_mean(jnp.mean((mine - taught) ** 2, axis=1), weight)


def with_taught_units(network: Network) -> Network:
  """Adds the weights `[h, 2M]` by which "concat" reads the frozen h_psi."""

  def init(key, features, arms):
    params = network.init(key, features, arms)
    zeros = jnp.zeros_like(params["head"]["kernel"])
    return {**params, "taught": {"kernel": zeros}}

  return network._replace(init=init)


def concat_outcomes(network: Network, params, teacher, features) -> Outcomes:
  """Returns F of one linear layer over (h, h_psi), scaled units."""
  own = network.apply(params, features)
  units = jax.lax.stop_gradient(network.represent(teacher, features))
  more = units @ params["taught"]["kernel"]
  arms = more.shape[-1] // 2
  return Outcomes(own.revenue + more[:, :arms], own.cost + more[:, arms:])


def _taught_init(network: Network, config: Config):
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> TaughtState:
    base = plain(key, study)
    return TaughtState(**vars(base), teacher=base.target)

  return init


def _enter(network: Network, config: Config, *, keep_trunk: bool):
  """Freezes the teacher; draws a new target, or a new output layer alone."""
  fresh = restart(network, config.obs)

  def enter(key, state, study: Study):
    state = fresh(key, state.replace(teacher=state.target), study)
    if not keep_trunk:
      return state
    target = {**state.teacher, "head": state.target["head"]}
    return state.replace(target=target)

  return enter


def _fixed(network: Network, config: Config, *, outcomes: bool):
  source = config.obs

  def fixed(state, study: Study) -> Taught:
    taught = None
    if outcomes:
      taught = apply_in_chunks(network.apply, state.teacher, study.obs.features)
      taught = jax.tree.map(jnp.asarray, taught)
    return Taught(total_steps(study, "obs", source, source.epochs), taught)

  return fixed


def _make(name: str, config: Config, network, loss, apply, enter, fixed):
  """Returns the Method of a teacher and a student with the given loss."""

  def learn(key, state, batch, aux: Taught):
    def objective(target):
      return loss(key, target, state, batch, aux)

    value, gradient = jax.value_and_grad(objective)(state.target)
    return guarded_update(
      state, value, gradient, batch.samples.weight, config.obs, aux.total
    )

  student = batch_stage(
    config.obs, learn, apply=apply, enter=enter, fixed=fixed
  )
  return Method(
    name=name,
    init=_taught_init(network, config),
    stages=(rct_stage(config, network), student),
    predict=apply,
  )


def make_kd_label(config: Config) -> Method:
  """KD-Label: the teacher's outcomes as a second label."""
  settings, network = config.distill, make_target(config.network)

  def loss(key, target, state, batch, aux: Taught):
    samples, learn_cost = batch.samples, state.scale.learn_cost
    taught = jax.tree.map(lambda x: x[batch.rows], aux.outcomes)
    predicted = network.apply(target, samples.features)
    if settings.label_form == "refine":
      samples = refined(samples, taught, settings.label_share)
      return factual_loss(predicted, samples, learn_cost=learn_cost)
    return factual_loss(
      predicted, samples, learn_cost=learn_cost
    ) + settings.label_weight * distilled_cells(
      key,
      predicted,
      taught,
      samples.weight,
      share=settings.cell_share,
      learn_cost=learn_cost,
    )

  return _make(
    "KD-Label",
    config,
    network,
    loss,
    money_apply(network),
    _enter(network, config, keep_trunk=False),
    _fixed(network, config, outcomes=True),
  )


def make_kd_feature(config: Config) -> Method:
  """KD-Feature: the teacher's last hidden layer as a guide."""
  settings, network = config.distill, make_target(config.network)
  concat = settings.feature_form == "concat"
  share = settings.feature_weight if settings.feature_form == "hint" else 0.0
  if concat:
    network = with_taught_units(network)

  def predicted(target, teacher, features):
    if concat:
      return concat_outcomes(network, target, teacher, features)
    return network.apply(target, features)

  def loss(key, target, state, batch, aux):
    del key, aux
    samples = batch.samples
    factual = factual_loss(
      predicted(target, state.teacher, samples.features),
      samples,
      learn_cost=state.scale.learn_cost,
    )
    if not share:
      return factual
    distance = hint(
      network.represent(target, samples.features),
      network.represent(state.teacher, samples.features),
      samples.weight,
    )
    return (1 - share) * factual + share * distance

  def apply(state, features):
    cells = predicted(state.target, state.teacher, features)
    return to_money(cells, state.scale)

  return _make(
    "KD-Feature",
    config,
    network,
    loss,
    apply,
    _enter(network, config, keep_trunk=not concat),
    _fixed(network, config, outcomes=False),
  )


METHODS = {"KD-Label": make_kd_label, "KD-Feature": make_kd_feature}
