"""LTD-IPS and LTD-DR (Wang, Zhang, Sun, Qi, WSDM 2021): learnt propensities.

A meta network P_phi gives propensities, and these the weights v_i of OBS rows
(learnt_propensity.py). In each batch:

  upper   min_phi MSE_t(theta') on the RCT batch + b Var(v),
          theta' = theta - eta grad_theta L(theta, phi) on the OBS batch, eta
          the step size that the target has then
  lower   a step of the target on L(., phi) with the new phi

  LTD-IPS  L = (1/n) sum_i v_i MSE_t(i)
  LTD-DR   L = the doubly robust loss (losses/reweighting.py) with labels
           m = F + G constant; the imputer G learns y - F on the RCT batch

In LTD-DR v_i stands for 1 / e_t, whose mean among an arm's rows is n / n_t, not
1: there v_i is multiplied by it, or the loss would not be doubly robust.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.losses.value import received, safe_ratio
from bidfcl_jax.methods.learnt_propensity import (
  init_propensity,
  propensity_weights,
  weight_variance,
)
from bidfcl_jax.methods.meta_step import meta_gradient
from bidfcl_jax.methods.method import Method, State
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.updates import (
  Schedule,
  fresh_state,
  guarded_update,
  meta_update,
  money_apply,
  plain_init,
  reported,
  restart,
  schedule,
  step_size,
)
from bidfcl_jax.models import make_scores, make_target
from bidfcl_jax.types import Samples, Study


@struct.dataclass
class DebiasState(State):
  """State of target, propensity and imputer.

  Attributes:
    meta: phi.
    meta_optimiser: state of phi's Adam.
    imputer: the State of G, a network with an optimiser of its own (LTD-DR;
      None for LTD-IPS).
  """

  meta: Any
  meta_optimiser: Any
  imputer: State | None


def _residuals(network, state, rct: Samples) -> Samples:
  """Returns the RCT rows with y - F_t in place of y."""
  known = network.apply(state.target, rct.features)
  return rct.replace(
    revenue=rct.revenue - received(known.revenue, rct.arm),
    cost=rct.cost - received(known.cost, rct.arm),
  )


def make_lower(network, config: Config, state, samples: Samples):
  """Returns (lower(theta, phi), weights(phi)) on an OBS batch, scaled units.

  Args:
    network: the target's.
    config: settings.
    state: DebiasState; with an imputer the loss is the doubly robust one, its
      labels constant at this state.
    samples: the batch.
  """
  learn_cost = state.scale.learn_cost

  def weights(phi):
    logits = make_scores(config.network).apply(phi, samples.features)
    return propensity_weights(logits, samples, cap=config.debias.cap)

  if state.imputer is None:

    def lower(theta, phi):
      return reweighted_loss(
        network.apply(theta, samples.features),
        samples,
        weights(phi),
        normalise="plain",
        learn_cost=learn_cost,
      )

    return lower, weights

  imputed = jax.tree.map(
    jnp.add,
    network.apply(state.target, samples.features),
    network.apply(state.imputer.target, samples.features),
  )
  arms = imputed.revenue.shape[1]
  in_batch = jax.nn.one_hot(samples.arm, arms) * samples.weight[:, None]
  share = safe_ratio(jnp.sum(in_batch, axis=0), jnp.sum(in_batch))
  balance = safe_ratio(jnp.ones_like(share), share)[samples.arm]

  def robust(theta, phi):
    return doubly_robust_loss(
      network.apply(theta, samples.features),
      imputed,
      samples,
      balance * weights(phi),
      learn_cost=learn_cost,
    )

  return robust, weights


def _imputer_step(network, config: Config, state, batch, total):
  """One step of G on the RCT batch, unless the OBS batch is empty."""
  rows = _residuals(network, state, batch.rct)

  def loss(imputer):
    return factual_loss(
      network.apply(imputer, rows.features),
      rows,
      learn_cost=state.scale.learn_cost,
    )

  value, gradient = jax.value_and_grad(loss)(state.imputer.target)
  imputer, metrics = guarded_update(
    state.imputer, value, gradient, batch.samples.weight, config.obs, total
  )
  return state.replace(imputer=imputer), metrics["skipped"]


def _meta_step(network, config: Config, adam, state, batch, total):
  """One step of phi by the RCT error after a virtual step of the target."""
  samples, rct, settings = batch.samples, batch.rct, config.debias
  lower, weights = make_lower(network, config, state, samples)

  def upper(theta):
    return factual_loss(
      network.apply(theta, rct.features),
      rct,
      learn_cost=state.scale.learn_cost,
    )

  def spread(phi):
    variance = weight_variance(weights(phi), samples)
    return settings.variance_weight * variance

  gradient, accepted = meta_gradient(
    lower,
    upper,
    state.target,
    state.meta,
    step_size=step_size(state, config.obs, total),
    direct=spread,
  )
  alive = jnp.sum(samples.weight) > 0
  meta, optimiser = meta_update(
    adam, gradient, state.meta, state.meta_optimiser, alive & accepted
  )
  state = state.replace(meta=meta, meta_optimiser=optimiser)
  metrics = {
    "meta_skipped": ~accepted,
    "meta_gradient_norm": optax.tree.norm(gradient),
    "weight_sd": jnp.sqrt(weight_variance(weights(meta), samples)),
  }
  return state, reported(alive, metrics)


def make_learnt_propensity(name: str, *, robust: bool):
  """Returns config -> Method of LTD-IPS, or of LTD-DR (robust)."""

  def make(config: Config) -> Method:
    settings, source = config.debias, config.obs
    network = make_target(config.network)
    adam = optax.adamw(
      settings.meta_learning_rate,
      eps=settings.meta_eps,
      weight_decay=settings.meta_decay,
    )
    plain = plain_init(network, source)

    def init(key, study: Study) -> DebiasState:
      base = plain(key, study)
      phi = init_propensity(jax.random.fold_in(key, 1), config, study)
      imputer = None
      if robust:
        features = study.obs.features.shape[1]
        params = network.init(jax.random.fold_in(key, 2), features, study.arms)
        imputer = fresh_state(params, source, base.scale)
      return DebiasState(
        **vars(base),
        meta=phi,
        meta_optimiser=adam.init(phi),
        imputer=imputer,
      )

    def learn(key, state, batch, aux: Schedule):
      del key
      refused = jnp.zeros(())
      if robust:
        state, refused = _imputer_step(network, config, state, batch, aux.total)
      state, seen = _meta_step(network, config, adam, state, batch, aux.total)
      lower, _ = make_lower(network, config, state, batch.samples)
      value, gradient = jax.value_and_grad(lower)(state.target, state.meta)
      state, metrics = guarded_update(
        state, value, gradient, batch.samples.weight, source, aux.total
      )
      metrics["skipped"] = jnp.maximum(metrics["skipped"], refused)
      return state, seen | metrics

    apply = money_apply(network)
    stage = batch_stage(
      source,
      learn,
      apply=apply,
      enter=restart(network, source),
      fixed=schedule("pair", source),
      reads="pair",
    )
    return Method(name=name, init=init, stages=(stage,), predict=apply)

  return make


METHODS = {
  "LTD-IPS": make_learnt_propensity("LTD-IPS", robust=False),
  "LTD-DR": make_learnt_propensity("LTD-DR", robust=True),
}
