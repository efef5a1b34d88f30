"""DR-JT (Wang, Zhang, Sun, Qi, ICML 2019): doubly robust joint learning.

An imputer G of the target's form guesses what F gets wrong on every cell. Each
batch is one step of both, v = min(1 / e, cap) (baselines.md 3.3):

  imputer  min_G (1/n) sum_i v_i (G_{i t_i} - (y_i - F_{i t_i}))^2
  target   min_F (1/n) sum_i [ sum_j ehat_ij + v_i (e_i - ehat_{i t_i}) ]
           with the labels m = F + G constant ("residual"), or m = G, where G
           learns y itself ("label")

The imputer is warmed up alone, before the target moves.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.losses.value import received
from bidfcl_jax.methods.method import Method, State
from bidfcl_jax.methods.propensity import (
  PropensityState,
  Weights,
  inverse_weights,
  logging_enter,
  logging_init,
)
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.updates import (
  fresh_state,
  go_on,
  guarded_update,
  money_apply,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Study


@struct.dataclass
class DoublyRobustState(PropensityState):
  """State of target, logging policy and imputer.

  Attributes:
    imputer: the State of G, a network with an optimiser of its own.
  """

  imputer: State


class JointWeights(NamedTuple):
  """aux of both stages.

  Attributes:
    weights: of the OBS rows; its `total` counts the target's steps.
    imputer_total: steps of the imputer, which goes on from stage to stage.
  """

  weights: Weights
  imputer_total: jax.Array


def make_doubly_robust(config: Config) -> Method:
  """DR-JT: imputer warm-up, then imputer and target in turn, on OBS."""
  settings, source = config.propensity, config.obs
  residual = settings.imputation == "residual"
  imputer_source = dataclasses.replace(
    source, learning_rate=settings.imputer_learning_rate
  )
  network = make_target(config.network)
  begin = logging_init(network, config)

  def init(key, study: Study) -> DoublyRobustState:
    base = begin(key, study)
    features = study.obs.features.shape[1]
    imputer = network.init(jax.random.fold_in(key, 1), features, study.arms)
    return DoublyRobustState(
      **vars(base),
      imputer=fresh_state(imputer, imputer_source, base.scale),
    )

  def fixed(state, study: Study) -> JointWeights:
    warm, joint = (
      total_steps(study, "obs", source, epochs)
      for epochs in (settings.imputer_epochs, source.epochs)
    )
    weights = inverse_weights(state, config, study, total=joint)
    return JointWeights(weights, warm + joint)

  def imputer_step(state, samples, inverse, total):
    labels = (samples.revenue, samples.cost)
    if residual:
      known = network.apply(state.target, samples.features)
      labels = (
        samples.revenue - received(known.revenue, samples.arm),
        samples.cost - received(known.cost, samples.arm),
      )
    unexplained = samples.replace(revenue=labels[0], cost=labels[1])

    def loss(imputer):
      return reweighted_loss(
        network.apply(imputer, samples.features),
        unexplained,
        inverse,
        normalise="plain",
        learn_cost=state.scale.learn_cost,
      )

    value, gradient = jax.value_and_grad(loss)(state.imputer.target)
    imputer, metrics = guarded_update(
      state.imputer, value, gradient, samples.weight, imputer_source, total
    )
    return state.replace(imputer=imputer), metrics

  def target_step(state, samples, inverse, total):
    imputed = network.apply(state.imputer.target, samples.features)
    if residual:
      known = network.apply(state.target, samples.features)
      imputed = jax.tree.map(jnp.add, known, imputed)

    def loss(target):
      return doubly_robust_loss(
        network.apply(target, samples.features),
        imputed,
        samples,
        inverse,
        learn_cost=state.scale.learn_cost,
      )

    value, gradient = jax.value_and_grad(loss)(state.target)
    return guarded_update(state, value, gradient, samples.weight, source, total)

  def learn(key, state, batch, aux: JointWeights, *, train_target: bool):
    del key
    weights = aux.weights
    inverse = weights.row[batch.rows]
    state, metrics = imputer_step(
      state, batch.samples, inverse, aux.imputer_total
    )
    metrics["imputer_loss"] = metrics.pop("loss")
    if train_target:
      state, own = target_step(state, batch.samples, inverse, weights.total)
      skipped = jnp.maximum(metrics["skipped"], own["skipped"])
      metrics = metrics | own | {"skipped": skipped}
    return state, weights.report | metrics

  warm = batch_stage(
    dataclasses.replace(source, epochs=settings.imputer_epochs),
    functools.partial(learn, train_target=False),
    name="imputer",
    apply=None,
    enter=logging_enter(network, config),
    fixed=fixed,
  )
  joint = batch_stage(
    source,
    functools.partial(learn, train_target=True),
    apply=money_apply(network),
    # The imputer learnt what this very target leaves unexplained.
    enter=go_on(source),
    fixed=fixed,
  )
  return Method(
    name="DR-JT",
    init=init,
    stages=(warm._replace(keep=False), joint),
    predict=money_apply(network),
    reads_logging=config.propensity.oracle,
  )


METHODS = {"DR-JT": make_doubly_robust}
