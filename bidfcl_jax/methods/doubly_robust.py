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

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.losses.value import received
from bidfcl_jax.methods.method import Method, Stage, State, to_scaled
from bidfcl_jax.methods.propensity import (
  PropensityState,
  Weights,
  check_propensity,
  inverse_weights,
  logging_enter,
  logging_init,
)
from bidfcl_jax.methods.updates import (
  go_on,
  guarded_update,
  make_optimiser,
  money_apply,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Study

IMPUTATIONS = ("residual", "label")


@struct.dataclass
class DoublyRobustState(PropensityState):
  """State of target, logging policy and imputer.

  Attributes:
    imputer: the State of G, a network with an optimiser of its own.
  """

  imputer: State


def make_doubly_robust(config: Config) -> Method:
  """DR-JT: imputer warm-up, then imputer and target in turn, on OBS."""
  check_propensity(config)
  settings, source = config.propensity, config.obs
  if settings.imputation not in IMPUTATIONS:
    raise ValueError(
      f"propensity.imputation={settings.imputation!r} is not one of "
      f"{', '.join(IMPUTATIONS)}"
    )
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
      imputer=State(
        step=jnp.zeros((), jnp.int32),
        target=imputer,
        optimiser=make_optimiser(imputer_source).init(imputer),
        scale=base.scale,
      ),
    )

  def fixed(state, study: Study) -> Weights:
    epochs = source.epochs + settings.imputer_epochs
    total = total_steps(study, "obs", source, epochs)
    return inverse_weights(state, config, study, total=total)

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

  def stage(name: str, epochs: int, enter, *, train_target: bool) -> Stage:
    def step(key, state, block, aux: Weights):
      del key

      def one(state, batch):
        samples, rows = batch
        samples = to_scaled(samples, state.scale)
        inverse = aux.row[rows]
        state, metrics = imputer_step(state, samples, inverse, aux.total)
        metrics["imputer_loss"] = metrics.pop("loss")
        if train_target:
          state, own = target_step(state, samples, inverse, aux.total)
          skipped = jnp.maximum(metrics["skipped"], own["skipped"])
          metrics = metrics | own | {"skipped": skipped}
        return state, aux.report | metrics

      return jax.lax.scan(one, state, (block.samples, block.rows))

    return Stage(
      name=name,
      reads="obs",
      batch=source.batch,
      epochs=epochs,
      period=1,
      keep=train_target,
      apply=money_apply(network) if train_target else None,
      enter=enter,
      fixed=fixed,
      step=step,
    )

  return Method(
    name="DR-JT",
    init=init,
    stages=(
      stage(
        "imputer",
        settings.imputer_epochs,
        logging_enter(network, config),
        train_target=False,
      ),
      # The imputer learnt what this very target leaves unexplained.
      stage("obs", source.epochs, go_on(source), train_target=True),
    ),
    predict=money_apply(network),
  )


METHODS = {"DR-JT": make_doubly_robust}
