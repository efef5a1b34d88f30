"""Repairs of an OBS model with a few numbers fitted on RCT (baselines.md 6).

UNION-w  one network on w mean_RCT + (1 - w) mean_OBS of the squared errors
RES      F_OBS + a_j + b_j F_OBS, two numbers per arm and outcome, by ridge
SHARED   the hidden layer of the OBS model stays; per arm and outcome a linear
         correction of its head is fitted on RCT by ridge (the two steps of
         Hatt et al. 2022, "Combining observational and randomized data for
         estimating heterogeneous treatment effects")
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.reweighting import reweighted_loss
from bidfcl_jax.methods.members import host_stage
from bidfcl_jax.methods.method import Method, State, to_money, to_scaled
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.two_stage import obs_stage
from bidfcl_jax.methods.updates import (
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Outcomes, Samples, Study


def ridge_fit(design, observed, ridge: float) -> np.ndarray:
  """Minimises |design b - observed|^2 + ridge |b|^2 in float64.

  Args:
    design: `[n, p]`.
    observed: `[n]`.
    ridge: positive; with 0 the least-squares solution of smallest norm.

  Returns:
    b `[p]`.
  """
  x, y = np.asarray(design, np.float64), np.asarray(observed, np.float64)
  gram = x.T @ x + ridge * np.eye(x.shape[1])
  if ridge > 0:
    return np.linalg.solve(gram, x.T @ y)
  return np.linalg.lstsq(x, y, rcond=None)[0]


def with_intercept(columns) -> np.ndarray:
  """Returns `[n, 1 + p]`: ones, then the columns."""
  columns = np.asarray(columns, np.float64)
  return np.column_stack([np.ones(len(columns)), columns])


def fit_by_arm(
  designs: Outcomes, predicted: Outcomes, rct: Samples, ridge: float
) -> Outcomes:
  """Fits what the predictions leave of the RCT outcomes, arm by arm.

  Args:
    designs: of revenue and cost, `[n, M, p]`: a row's design in each arm.
    predicted: `[n, M]`, scaled units.
    rct: rows, scaled units.
    ridge: penalty.

  Returns:
    Coefficients, Outcomes of `[M, p]`, float64.
  """
  arm = np.asarray(rct.arm)

  def one(design, cells, observed):
    fits = []
    for j in range(cells.shape[1]):
      mine = arm == j
      left = np.asarray(observed, np.float64)[mine] - cells[mine, j]
      fits.append(ridge_fit(design[mine, j], left, ridge))
    return np.stack(fits)

  return Outcomes(
    one(designs.revenue, predicted.revenue, rct.revenue),
    one(designs.cost, predicted.cost, rct.cost),
  )


def on_device(tree):
  """Returns float arrays of the run's precision."""
  return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), tree)


# -- UNION-w


class Weighted(NamedTuple):
  """aux of UNION-w.

  Attributes:
    total: steps of the stage.
    first_rct: rows from here on are RCT rows.
    weights: `[2]`, of an OBS and of an RCT row; 1 on average.
  """

  total: jax.Array
  first_rct: jax.Array
  weights: jax.Array


def source_weights(rows_obs: int, rows_rct: int, share: float) -> np.ndarray:
  """Returns the weight of an OBS and of an RCT row `[2]`, mean 1 over rows.

  Raises:
    ValueError: a source without rows.
  """
  total = rows_obs + rows_rct
  for name, rows in (("OBS", rows_obs), ("RCT-train", rows_rct)):
    if not rows:
      raise ValueError(f"UNION-w weighs two sources, but {name} has no row")
  return np.array([(1 - share) * total / rows_obs, share * total / rows_rct])


def make_weighted_union(config: Config) -> Method:
  """UNION-w: TSM-SL on both sources, RCT with the share `union_weight`."""
  network, source = make_target(config.network), config.obs
  share = config.simple.union_weight

  def fixed(state, study: Study) -> Weighted:
    del state
    rows = len(study.obs), len(study.rct_train)
    return Weighted(
      total_steps(study, "union", source, source.epochs),
      jnp.asarray(rows[0]),
      jnp.asarray(source_weights(*rows, share), float),
    )

  def loss(target, samples, rows, state, aux: Weighted):
    # Divided by the batch's rows, not by its weights, for the gradient to be
    # that of the two means in expectation.
    value = reweighted_loss(
      network.apply(target, samples.features),
      samples,
      aux.weights[(rows >= aux.first_rct).astype(jnp.int32)],
      normalise="plain",
      learn_cost=state.scale.learn_cost,
    )
    return value, {}

  return Method(
    name="UNION-w",
    init=plain_init(network, source),
    stages=(
      loss_stage(
        source,
        loss,
        apply=money_apply(network),
        enter=restart(network, source),
        fixed=fixed,
        name="union",
        reads="union",
      ),
    ),
    predict=money_apply(network),
  )


# -- RES


@struct.dataclass
class RepairState(State):
  """State of RES; `target` is the OBS model.

  Attributes:
    repair: Outcomes of `[M, 2]`: a_j and b_j, scaled units.
  """

  repair: Outcomes


def make_residual(config: Config) -> Method:
  """RES: an affine repair per arm and outcome."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> RepairState:
    none = jnp.zeros((study.arms, 2))
    return RepairState(**vars(plain(key, study)), repair=Outcomes(none, none))

  def enter(key, state, study: Study):
    del key
    rct = study.rct_train
    predicted = apply_in_chunks(network.apply, state.target, rct.features)
    predicted = jax.tree.map(lambda c: np.asarray(c, np.float64), predicted)
    designs = jax.tree.map(
      lambda cells: np.stack([np.ones_like(cells), cells], axis=2), predicted
    )
    rows = to_scaled(rct, state.scale)
    repair = fit_by_arm(designs, predicted, rows, config.simple.ridge)
    return state.replace(repair=on_device(repair))

  def predict(state: RepairState, features) -> Outcomes:
    cells = jax.tree.map(
      lambda f, repair: f + repair[:, 0] + repair[:, 1] * f,
      network.apply(state.target, features),
      state.repair,
    )
    return to_money(cells, state.scale)

  return Method(
    name="RES",
    init=init,
    stages=(obs_stage(config, network), host_stage("repair", enter)),
    predict=predict,
  )


# -- SHARED


def make_shared(config: Config) -> Method:
  """SHARED: the OBS model with heads corrected on RCT."""
  network = make_target(config.network)

  def enter(key, state, study: Study):
    del key
    rct = study.rct_train
    predicted = apply_in_chunks(network.apply, state.target, rct.features)
    predicted = jax.tree.map(lambda c: np.asarray(c, np.float64), predicted)
    units = apply_in_chunks(network.represent, state.target, rct.features)
    shape = (len(rct), study.arms, units.shape[1] + 1)
    design = np.broadcast_to(with_intercept(units)[:, None], shape)
    moved = fit_by_arm(
      Outcomes(design, design),
      predicted,
      to_scaled(rct, state.scale),
      config.simple.ridge,
    )
    moved = on_device(np.concatenate([moved.revenue, moved.cost]))
    head = state.target["head"]
    corrected = {
      "bias": head["bias"] + moved[:, 0],
      "kernel": head["kernel"] + moved[:, 1:].T,
    }
    return state.replace(target=state.target | {"head": corrected})

  return Method(
    name="SHARED",
    init=plain_init(network, config.obs),
    stages=(obs_stage(config, network), host_stage("heads", enter)),
    predict=money_apply(network),
  )


METHODS = {
  "UNION-w": make_weighted_union,
  "RES": make_residual,
  "SHARED": make_shared,
}
