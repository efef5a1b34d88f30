"""Ensembles of whole trainings, and one network taught by them (beyond.md 2).

FT-ENS  mean prediction of K fine-tuned networks of random streams of their
        own; with K = 1 it is FT without its options
KD-FT   one network taught by FT-ENS on all cells of the OBS rows, which lend
        their covariates alone (the lower level with gate 1)
SEED-2  mean prediction of two TSM-SL on the union: what averaging gives by
        itself
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import cell_loss, teacher_cells
from bidfcl_jax.methods.members import (
  empty_members,
  mean_in_chunks,
  mean_outcomes,
  member_stages,
  repeated_stages,
)
from bidfcl_jax.methods.method import Method, State, to_money
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.teachers import (
  Networks,
  make_networks,
  start_stages,
  teacher_stages,
)
from bidfcl_jax.methods.two_stage import union_stage
from bidfcl_jax.methods.updates import (
  go_on,
  money_apply,
  plain_init,
  total_steps,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.types import Outcomes, Study


@struct.dataclass
class EnsembleState(State):
  """State of an ensemble; `target` is the network in training.

  Attributes:
    members: parameters of K networks, stacked `[K, ...]`.
  """

  members: Any


def _init(network: Network, config: Config, count: int) -> Callable:
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> EnsembleState:
    base = plain(key, study)
    members = empty_members(base.target, count)
    return EnsembleState(**vars(base), members=members)

  return init


def _mean_of(name: str, config: Config, network: Network, count: int, stages):
  """Returns the Method that predicts the mean of `count` stored networks."""

  def predict(state, features) -> Outcomes:
    outcomes = mean_outcomes(network, state.members, features)
    return to_money(outcomes, state.scale)

  return Method(
    name=name,
    init=_init(network, config, count),
    stages=stages,
    predict=predict,
  )


def make_ensemble(config: Config) -> Method:
  """FT-ENS: the mean of K fine-tuned networks."""
  network = make_target(config.network)
  stages = member_stages(config, network)
  return _mean_of("FT-ENS", config, network, config.simple.members, stages)


def make_two_seeds(config: Config) -> Method:
  """SEED-2: the mean of two TSM-SL on the union."""
  network = make_target(config.network)
  stages = repeated_stages(2, union_stage(config, network))
  return _mean_of("SEED-2", config, network, 2, stages)


class Lesson(NamedTuple):
  """aux of the student: its steps, and the teacher's Outcomes of OBS rows."""

  total: jax.Array
  taught: Outcomes


def student_stage(config: Config, networks: Networks, *, begin: int | None):
  """Fits the teacher's Outcomes on all cells of the OBS rows.

  Args:
    config: settings; the student reads OBS as `config.obs` says.
    networks: the student's and the teacher's, both on state.target.
    begin: member whose weights the student starts from; None: the target at
      hand (a teacher of another class has no weights to lend).
  """
  source, begun = config.obs, go_on(config.obs)

  def enter(key, state, study: Study):
    if begin is not None:
      target = jax.tree.map(lambda leaf: leaf[begin], state.members)
      state = state.replace(target=target)
    return begun(key, state, study)

  def fixed(state, study: Study) -> Lesson:
    return Lesson(
      total_steps(study, "obs", source, source.epochs),
      mean_in_chunks(networks.teacher, state.members, study.obs.features),
    )

  def loss(target, samples, rows, state, aux: Lesson):
    taught = jax.tree.map(lambda cells: cells[rows], aux.taught)
    cells = teacher_cells(taught, learn_cost=state.scale.learn_cost)
    predicted = networks.target.apply(target, samples.features)
    return cell_loss(predicted, cells, samples.weight), {}

  return loss_stage(
    source,
    loss,
    apply=money_apply(networks.target),
    enter=enter,
    fixed=fixed,
    name="student",
  )


def make_distilled(config: Config) -> Method:
  """KD-FT: one network of the served class, taught by FT-ENS.

  It starts from its own class's fine-tuned network, as the bi-level methods
  with this teacher do (beyond.md 4, step 6).
  """
  bilevel = dataclasses.replace(
    config.bilevel,
    teacher="ensemble",
    start="finetuned",
    cross_fit=False,
    teacher_share=1.0,
  )
  config = dataclasses.replace(config, bilevel=bilevel)
  networks = make_networks(config)
  own_start = start_stages(config, networks.target)
  return Method(
    name="KD-FT",
    init=_init(networks.target, config, config.simple.members),
    stages=(
      *teacher_stages(config, networks.teacher),
      *own_start,
      student_stage(config, networks, begin=None if own_start else 0),
    ),
    predict=money_apply(networks.target),
  )


METHODS = {
  "FT-ENS": make_ensemble,
  "KD-FT": make_distilled,
  "SEED-2": make_two_seeds,
}
