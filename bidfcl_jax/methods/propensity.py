"""IPS (Schnabel et al., ICML 2016, arXiv 1602.05352) on OBS rows.

The factual loss with weights v_i = min(1 / e_{t_i}(x_i), cap), divided by their
sum; e is estimated before the stage begins (logging_policy.py) and frozen. What
DR-JT shares with it stands here, too: the state and the inverse propensities.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.data.overlap import effective_size
from bidfcl_jax.keys import stream
from bidfcl_jax.losses.reweighting import reweighted_loss
from bidfcl_jax.methods.logging_policy import (
  LoggingPolicy,
  init_policy,
  make_policy_fit,
  received_propensity,
)
from bidfcl_jax.methods.method import Method, State
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.updates import (
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Study


@struct.dataclass
class PropensityState(State):
  """State of a target and of the logging policy.

  Attributes:
    logging: LoggingPolicy, frozen once fitted.
  """

  logging: LoggingPolicy


class Weights(NamedTuple):
  """aux of the methods that weigh by inverse propensity.

  Attributes:
    total: steps of the stage.
    row: `[n_obs]` weight of each OBS row.
    report: metrics that are the same in every step: rows that the weights
      leave (the effective sample size), share of rows at the cap, held-out
      cross-entropy of e.
  """

  total: jax.Array
  row: jax.Array
  report: dict[str, jax.Array]


def logging_init(network, config: Config):
  """Returns (key, study) -> PropensityState."""
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> PropensityState:
    policy = init_policy(stream(key, "propensity"), config, study)
    return PropensityState(**vars(plain(key, study)), logging=policy)

  return init


def logging_enter(network, config: Config):
  """Returns an `enter` that fits e(x), then draws a new target."""
  fit, fresh = make_policy_fit(config), restart(network, config.obs)

  def enter(key, state, study: Study):
    if not config.propensity.oracle:
      policy = fit(stream(key, "propensity"), study)
      state = state.replace(logging=policy)
    return fresh(key, state, study)

  return enter


def _propensity(state, config: Config, study: Study) -> np.ndarray:
  """Returns e of each OBS row's own arm, `[n_obs]` float64."""
  if not config.propensity.oracle:
    received = received_propensity(state.logging, config, study.obs)
    return received.astype(np.float64)
  if study.truth is None or study.truth.logging is None:
    raise ValueError(
      "propensity.oracle=True needs logging propensities that are known "
      "(simulated worlds and hybrids); set it to False"
    )
  logging = np.asarray(study.truth.logging, np.float64)
  return logging[np.arange(len(study.obs)), np.asarray(study.obs.arm)]


def inverse_weights(
  state,
  config: Config,
  study: Study,
  *,
  total: jax.Array,
  stabilised: bool = False,
) -> Weights:
  """Computes v = min(1 / e, cap) of all OBS rows on the host.

  Args:
    state: with the fitted logging policy.
    config: settings.
    study: its OBS rows; its truth under `propensity.oracle` only.
    total: steps of the stage.
    stabilised: multiply by the share of the row's arm in OBS.

  Returns:
    Weights.

  Raises:
    ValueError: `propensity.oracle` where the propensities are not known.
  """
  propensity = _propensity(state, config, study)
  real = np.asarray(study.obs.weight, np.float64)
  # The least float keeps a division without a cap finite.
  least = max(1 / config.propensity.cap, np.finfo(np.float32).tiny)
  row = 1 / np.maximum(propensity, least)
  if stabilised:
    arm = np.asarray(study.obs.arm)
    counts = np.bincount(arm, weights=real, minlength=study.arms)
    row *= (counts / max(counts.sum(), 1))[arm]
  capped = np.average(propensity < least, weights=real) if real.any() else 0
  report = {
    "effective_rows": effective_size(real * row),
    "capped": capped,
  }
  if not config.propensity.oracle:
    report["propensity_log_loss"] = jnp.mean(state.logging.log_loss)
  return Weights(
    total=total,
    row=jnp.asarray(row, float),
    report={name: jnp.asarray(value, float) for name, value in report.items()},
  )


def make_ips(config: Config) -> Method:
  """IPS: factual regression on OBS with inverse propensity weights."""
  settings, network = config.propensity, make_target(config.network)

  def fixed(state, study: Study) -> Weights:
    return inverse_weights(
      state,
      config,
      study,
      total=total_steps(study, "obs", config.obs, config.obs.epochs),
      stabilised=settings.stabilised,
    )

  def loss(target, samples, rows, state, aux: Weights):
    value = reweighted_loss(
      network.apply(target, samples.features),
      samples,
      aux.row[rows],
      normalise=settings.normalise,
      learn_cost=state.scale.learn_cost,
    )
    return value, aux.report

  apply = money_apply(network)
  stage = loss_stage(
    config.obs,
    loss,
    apply=apply,
    enter=logging_enter(network, config),
    fixed=fixed,
  )
  return Method(
    name="IPS",
    init=logging_init(network, config),
    stages=(stage,),
    predict=apply,
    reads_logging=settings.oracle,
  )


METHODS = {"IPS": make_ips}
