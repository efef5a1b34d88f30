"""The two steps of Algorithm 1: the bridge above, the target below.

  upper  copy theta, k assumed steps on one OBS batch -> theta*; decision loss
         at theta*; hypergradient; Adam on phi
  lower  a guarded step of the target on L_PL with the bridge at hand

What the bridge does is `bilevel.bridge`: gates on pseudo-labels (eq. 9),
weights of the observed outcomes, or a correction of the teacher's labels. Rows
of OBS lend the upper level covariates, never outcomes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from bidfcl_jax.bilevel import assumed_steps, hypergradient
from bidfcl_jax.losses.prediction import (
  additive_cells,
  bridge_cells,
  cell_loss,
  cell_residuals,
  weighted_cells,
)
from bidfcl_jax.methods.method import to_money, to_scaled
from bidfcl_jax.methods.objective import decision_loss
from bidfcl_jax.methods.taught import (
  Fixed,
  Parts,
  TaughtState,
  draw_sources,
)
from bidfcl_jax.methods.updates import (
  guarded_update,
  meta_update,
  reported,
  select,
)
from bidfcl_jax.types import Samples


@struct.dataclass
class BridgedState(TaughtState):
  """State of the three networks.

  Attributes:
    bridge: G_phi.
    bridge_optimiser: state of the bridge's Adam.
    solution: v of the last accepted bridge update, where it is carried.
  """

  bridge: Any
  bridge_optimiser: Any
  solution: Any


def make_cells(parts: Parts, phi, samples: Samples, taught, scale, base=None):
  """Returns the lower level's Cells with the bridge phi, scaled units.

  Args:
    parts: settings and networks.
    phi: the bridge's parameters.
    samples: OBS rows, scaled units.
    taught: the teacher's Outcomes of these rows, or labels in their place.
    scale: Scale.
    base: F of the copied target, where labels are a frozen copy; without it
      the stop-gradient form, which has the same gradient at that point.
  """
  bilevel = parts.config.bilevel
  made = parts.bridge.apply(phi, samples.features)
  if bilevel.bridge == "weights":
    return weighted_cells(made, samples, learn_cost=scale.learn_cost)
  if bilevel.bridge == "additive":
    return additive_cells(made, taught, learn_cost=scale.learn_cost)
  labels = bilevel.labels
  if labels == "frozen_copy" and base is None:
    labels = "stop_gradient"
  return bridge_cells(
    made,
    taught,
    samples,
    labels=labels,
    base=base,
    counterfactual_weight=bilevel.counterfactual_weight,
    learn_cost=scale.learn_cost,
  )


def lower_loss(parts: Parts, theta, samples: Samples, cells) -> jax.Array:
  """Returns L_PL of eq. 9 at theta."""
  predicted = parts.target.apply(theta, samples.features)
  return cell_loss(predicted, cells, samples.weight)


def lower_step(parts: Parts, state, samples: Samples, taught, aux: Fixed):
  """One target step on L_PL with the bridge at hand."""
  cells = make_cells(parts, state.bridge, samples, taught, state.scale)
  value, gradient = jax.value_and_grad(
    lambda theta: lower_loss(parts, theta, samples, cells)
  )(state.target)
  return guarded_update(
    state, value, gradient, samples.weight, parts.lower, aux.total
  )


def _lower_problem(parts: Parts, theta, samples: Samples, taught, scale):
  """Returns (cells(phi), residuals(theta, phi) of the curvature's rows)."""
  config = parts.config.bilevel
  base = None
  if config.labels == "frozen_copy" and config.bridge == "gates":
    base = parts.target.apply(theta, samples.features)

  def cells(phi):
    return make_cells(parts, phi, samples, taught, scale, base)

  rows = config.curvature_rows or len(samples)
  near = jax.tree.map(lambda x: x[:rows], (samples, taught, base))

  def residuals(theta, phi):
    samples, taught, base = near
    part = make_cells(parts, phi, samples, taught, scale, base)
    predicted = parts.target.apply(theta, samples.features)
    return cell_residuals(predicted, part, samples.weight)

  return cells, residuals


def upper_step(parts: Parts, key, state, block, lesson, aux: Fixed):
  """One bridge update by the hypergradient of the decision loss (Alg. 1).

  Args:
    parts: settings and networks.
    key: of this update.
    state: BridgedState.
    block: OBS Samples `[period, batch, ...]`, original units; the lower level
      is solved on the first batch.
    lesson: (the teacher's Outcomes, labels of the lower level) of the block.
    aux: Fixed.

  Returns:
    (state, metrics): the bridge and its Adam state are unchanged to the bit
    where the solve is not accepted or the batch is empty.
  """
  config, bilevel = parts.config, parts.config.bilevel
  taught, labels = lesson
  samples, first = jax.tree.map(lambda x: x[0], (block, labels))
  samples = to_scaled(samples, state.scale)
  cells, residuals = _lower_problem(
    parts, state.target, samples, first, state.scale
  )
  step_size = bilevel.assumed_learning_rate
  if step_size is None:
    step_size = parts.lower.learning_rate
  through_steps = bilevel.solver in ("explicit", "unrolled")
  steps = 1 if bilevel.solver == "explicit" else bilevel.assumed_steps

  def with_cells(theta, cells):
    return lower_loss(parts, theta, samples, cells)

  theta = assumed_steps(
    with_cells,
    state.target,
    cells(state.bridge),
    steps=steps,
    step_size=step_size,
  )

  def money(theta, features):
    return to_money(parts.target.apply(theta, features), state.scale)

  upper, pricing, metrics = decision_loss(
    money,
    theta,
    draw_sources(key, parts, block, taught, aux, state.scale),
    aux.budgets,
    state.pricing,
    config.decision,
    parts.surrogate,
  )
  gradient, info = hypergradient(
    lambda theta, phi: with_cells(theta, cells(phi)),
    upper,
    state.target if through_steps else theta,
    state.bridge,
    residuals=residuals,
    solver=bilevel.solver,
    damping=bilevel.damping,
    maxiter=bilevel.n_cg,
    start=state.solution if bilevel.carry_solution else None,
    max_residual=bilevel.max_residual,
    step_size=step_size,
    steps=steps,
  )
  alive = jnp.sum(samples.weight) > 0
  allowed = alive & info.accepted
  bridge, adam = meta_update(
    parts.bridge_adam,
    gradient,
    state.bridge,
    state.bridge_optimiser,
    allowed,
  )
  moved = state.replace(
    bridge=bridge,
    bridge_optimiser=adam,
    pricing=select(alive, pricing, state.pricing),
  )
  if bilevel.carry_solution:
    kept = select(allowed, info.solution, state.solution)
    moved = moved.replace(solution=kept)

  norm = optax.tree.norm(gradient)
  metrics |= {
    "cg_residual": info.residual,
    "negative_curvature": info.negative_curvature,
    "bridge_skipped": ~info.accepted,
    "hypergradient_norm": norm,
    "zero_hypergradient": info.accepted & (norm == 0),
  }
  made = parts.bridge.apply(moved.bridge, samples.features)
  for name in ("revenue", "cost"):
    metrics[f"gate_{name}_mean"] = jnp.mean(getattr(made, name))
    metrics[f"gate_{name}_sd"] = jnp.std(getattr(made, name))
  return moved, reported(alive, metrics)
