"""The two steps of Algorithm 1: the bridge above, the target below.

  upper  copy theta, k assumed steps on one OBS batch -> theta*; decision loss
         at theta* on RCT rows; hypergradient; Adam on phi
  lower  a guarded step of the target on eq. 9 with the gates at hand

A batch of OBS rows never lends an outcome to the upper level.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bidfcl_jax.bilevel import assumed_steps, hypergradient
from bidfcl_jax.config import Config
from bidfcl_jax.losses.decision import policy_loss
from bidfcl_jax.losses.prediction import bridge_cells, cell_loss, cell_residuals
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.method import State, to_money
from bidfcl_jax.methods.pricing import Pricing
from bidfcl_jax.methods.updates import guarded_update, select
from bidfcl_jax.models import Network
from bidfcl_jax.types import Outcomes, Samples


@struct.dataclass
class BridgedState(State):
  """State of the three networks.

  Attributes:
    teacher: F_psi, frozen after its stages.
    bridge: G_phi.
    bridge_optimiser: state of the bridge's Adam.
    pricing: price bounds, temperature and mu of the decision loss.
  """

  teacher: Any
  bridge: Any
  bridge_optimiser: Any
  pricing: Pricing


class Fixed(NamedTuple):
  """aux of the warm and bi-level stages.

  Attributes:
    total: target steps of warm start and bi-level stage together.
    taught: teacher's Outcomes on all OBS rows `[n_obs, M]`, scaled units.
    rct: RCT-train rows, original units.
    propensity: `[M]`.
    budget: scalar, per capita.
  """

  total: jax.Array
  taught: Outcomes
  rct: Samples
  propensity: jax.Array
  budget: jax.Array


class Parts(NamedTuple):
  """What the functions of this file share: networks, optimiser, settings."""

  config: Config
  target: Network
  bridge: Network
  bridge_adam: optax.GradientTransformation


def _cells(parts: Parts, phi, samples: Samples, taught, labels, scale, base):
  return bridge_cells(
    parts.bridge.apply(phi, samples.features),
    taught,
    samples,
    labels=labels,
    base=base,
    counterfactual_weight=parts.config.bilevel.counterfactual_weight,
    learn_cost=scale.learn_cost,
  )


def _lower_loss(parts: Parts, theta, samples: Samples, cells) -> jax.Array:
  predicted = parts.target.apply(theta, samples.features)
  return cell_loss(predicted, cells, samples.weight)


def lower_step(parts: Parts, state, samples: Samples, taught, aux: Fixed):
  """One target step on L_PL (eq. 9) with the gates at hand."""
  labels = parts.config.bilevel.labels
  # At the current theta a frozen copy has the stop-gradient form's gradient.
  labels = "stop_gradient" if labels == "frozen_copy" else labels
  cells = _cells(
    parts, state.bridge, samples, taught, labels, state.scale, None
  )

  def loss(theta):
    return _lower_loss(parts, theta, samples, cells)

  value, gradient = jax.value_and_grad(loss)(state.target)
  return guarded_update(
    state, value, gradient, samples.weight, parts.config.obs, aux.total
  )


def _lower_problem(parts: Parts, theta, samples: Samples, taught, scale):
  """Returns (cells(phi), loss(theta, cells), residuals(theta, phi))."""
  config = parts.config.bilevel
  base = None
  if config.labels == "frozen_copy":
    base = parts.target.apply(theta, samples.features)

  def cells(phi):
    return _cells(parts, phi, samples, taught, config.labels, scale, base)

  def loss(theta, cells):
    return _lower_loss(parts, theta, samples, cells)

  rows = config.curvature_rows or len(samples)
  near = jax.tree.map(lambda x: x[:rows], (samples, taught, base))

  def residuals(theta, phi):
    samples, taught, base = near
    part = _cells(parts, phi, samples, taught, config.labels, scale, base)
    predicted = parts.target.apply(theta, samples.features)
    return cell_residuals(predicted, part, samples.weight)

  return cells, loss, residuals


def upper_step(parts: Parts, key, state, samples: Samples, taught, aux: Fixed):
  """One bridge update by the hypergradient of the decision loss (Alg. 1).

  Returns:
    (state, metrics): the bridge and its Adam state are unchanged to the bit
    where the solve is not accepted or the batch is empty.
  """
  config, bilevel = parts.config, parts.config.bilevel
  cells, loss, residuals = _lower_problem(
    parts, state.target, samples, taught, state.scale
  )
  step_size = bilevel.assumed_learning_rate
  theta = assumed_steps(
    loss,
    state.target,
    cells(state.bridge),
    steps=bilevel.assumed_steps,
    step_size=config.obs.learning_rate if step_size is None else step_size,
  )
  count = pricing_lib.rows_at_upper_level(config.decision, len(aux.rct))
  rct = pricing_lib.draw_rows(key, aux.rct, count)

  def money(theta):
    return to_money(parts.target.apply(theta, rct.features), state.scale)

  terms, pricing, metrics = pricing_lib.decision_terms(
    money(theta),
    rct,
    aux.propensity,
    aux.budget,
    state.pricing,
    config.decision,
  )

  def upper(theta):
    return policy_loss(money(theta), rct, aux.propensity, **terms._asdict())

  gradient, info = hypergradient(
    lambda theta, phi: loss(theta, cells(phi)),
    upper,
    theta,
    state.bridge,
    residuals=residuals,
    solver=bilevel.solver,
    damping=bilevel.damping,
    maxiter=bilevel.n_cg,
    max_residual=bilevel.max_residual,
  )
  updates, adam = parts.bridge_adam.update(
    gradient, state.bridge_optimiser, state.bridge
  )
  alive = jnp.sum(samples.weight) > 0
  new = state.replace(
    bridge=optax.apply_updates(state.bridge, updates), bridge_optimiser=adam
  )
  moved = select(alive & info.accepted, new, state)
  moved = moved.replace(pricing=select(alive, pricing, state.pricing))

  norm = optax.tree.norm(gradient)
  metrics |= {
    "cg_residual": info.residual,
    "negative_curvature": info.negative_curvature,
    "bridge_skipped": ~info.accepted,
    "hypergradient_norm": norm,
    "zero_hypergradient": info.accepted & (norm == 0),
  }
  gates = parts.bridge.apply(moved.bridge, samples.features)
  for name in ("revenue", "cost"):
    metrics[f"gate_{name}_mean"] = jnp.mean(getattr(gates, name))
    metrics[f"gate_{name}_sd"] = jnp.std(getattr(gates, name))
  # An empty block has nothing to report.
  return moved, {
    name: jnp.where(alive, value, jnp.nan) for name, value in metrics.items()
  }
