"""CFR (Shalit, Johansson, Sontag, ICML 2017, arXiv 1606.03976) for M arms.

The last hidden layer, at unit length, is a representation Phi in which the arms
of OBS should look alike (baselines.md 3.4):

  L = (1/n) sum_i w_i MSE_t(i) + alpha mean_{j >= 1} D(Phi | t = j, Phi | t = 0)

with w_i = 1 / (M p_{t_i}), p the arm shares of OBS, and D a Wasserstein
distance (CFR-WASS) or an MMD^2 (CFR-MMD). Heads are linear in Phi, one an arm
and outcome.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import CfrConfig, Config
from bidfcl_jax.losses.distances import mmd, wasserstein
from bidfcl_jax.losses.reweighting import reweighted_loss
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.methods.method import Method
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.updates import (
  money_apply,
  plain_init,
  restart,
  total_steps,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.models.heads import linear_heads
from bidfcl_jax.types import Array, Study


class Balance(NamedTuple):
  """aux of CFR.

  Attributes:
    total: steps of the stage.
    arm_weight: `[M]` 1 / (M p_j); 0 for an arm without rows.
  """

  total: jax.Array
  arm_weight: jax.Array


def unit_length(units: Array) -> jax.Array:
  """Scales rows to length 1; a row of zeros stays."""
  square = jnp.sum(units**2, axis=1, keepdims=True)
  zero = square == 0
  return jnp.where(zero, 0, units / jnp.sqrt(jnp.where(zero, 1, square)))


def normalised(network: Network) -> Network:
  """Returns the network with its last hidden layer at unit length.

  Without it, a network shrinks Phi to cheat the penalty.
  """

  def represent(params, features):
    return unit_length(network.represent(params, features))

  def apply(params, features):
    return linear_heads(params, represent(params, features))

  return Network(network.init, apply, represent)


def arm_weights(arm: Array, weight: Array, arms: int) -> np.ndarray:
  """Returns `[M]` 1 / (M p_j), 0 where an arm has no rows; on the host."""
  counts = np.bincount(
    np.asarray(arm), weights=np.asarray(weight, np.float64), minlength=arms
  )
  empty = counts == 0
  return np.where(empty, 0, counts.sum() / (arms * np.where(empty, 1, counts)))


def _first_rows(mask: jax.Array, rows: int) -> tuple[jax.Array, jax.Array]:
  """Returns positions of the first rows of a mask, and 1 where they exist."""
  (found,) = jnp.nonzero(mask, size=rows, fill_value=0)
  return found, (jnp.arange(rows) < jnp.sum(mask)).astype(float)


def imbalance(
  representation: Array,
  arm: Array,
  weight: Array,
  distance: Callable,
  *,
  arms: int,
  rows: int,
  least_rows: int,
  against: str,
) -> jax.Array:
  """Mean over arms j >= 1 of the distance to the control, or to all others.

  Args:
    representation: Phi `[n, h]`.
    arm: `[n]`.
    weight: `[n]`, 0 leaves a row out.
    distance: (points, points, weights, weights) -> scalar.
    arms: M.
    rows: most rows of a set; the first of the batch, whose order is random.
    least_rows: a set with fewer leaves its distance out.
    against: "control" or "rest".

  Returns:
    Scalar; 0 where no distance can be taken.
  """
  rows = min(rows, len(arm))
  real = weight > 0

  def points(mask):
    found, there = _first_rows(mask & real, rows)
    enough = jnp.sum(there) >= least_rows
    # Too small a set is read as if full: finite, and then counted 0.
    there = jnp.where(enough, there, 1.0)
    return representation[found], there.astype(representation.dtype), enough

  def one(j):
    mine, mine_there, mine_enough = points(arm == j)
    other, other_there, other_enough = (
      points(arm == 0) if against == "control" else points(arm != j)
    )
    value = distance(mine, other, mine_there, other_there)
    return value, (mine_enough & other_enough).astype(value.dtype)

  values, usable = jax.vmap(one)(jnp.arange(1, arms))
  return weighted_mean(values, usable)


def make_cfr(name: str, make_distance: Callable[[CfrConfig], Callable]):
  """Returns config -> Method with the given distance of Phi between arms."""

  def make(config: Config) -> Method:
    settings = config.cfr
    distance = make_distance(settings)
    network = normalised(make_target(config.network))

    def fixed(state, study: Study) -> Balance:
      del state
      weights = arm_weights(study.obs.arm, study.obs.weight, study.arms)
      return Balance(
        total=total_steps(study, "obs", config.obs, config.obs.epochs),
        arm_weight=jnp.asarray(weights, float),
      )

    def loss(target, samples, rows, state, aux: Balance):
      del rows
      representation = network.represent(target, samples.features)
      value = reweighted_loss(
        linear_heads(target, representation),
        samples,
        aux.arm_weight[samples.arm],
        normalise="plain",
        learn_cost=state.scale.learn_cost,
      )
      if settings.weight == 0:
        return value, {}
      apart = imbalance(
        representation,
        samples.arm,
        samples.weight,
        distance,
        arms=len(aux.arm_weight),
        rows=settings.rows,
        least_rows=settings.least_rows,
        against=settings.against,
      )
      return value + settings.weight * apart, {"imbalance": apart}

    apply = money_apply(network)
    stage = loss_stage(
      config.obs,
      loss,
      apply=apply,
      enter=restart(network, config.obs),
      fixed=fixed,
    )
    return Method(
      name=name,
      init=plain_init(network, config.obs),
      stages=(stage,),
      predict=apply,
    )

  return make


def _wasserstein(settings: CfrConfig) -> Callable:
  def distance(*sets):
    return wasserstein(
      *sets,
      form=settings.form,
      epsilon=settings.epsilon,
      sweeps=settings.sweeps,
    )

  return distance


def _mmd(settings: CfrConfig) -> Callable:
  return lambda *sets: mmd(*sets, kernel=settings.kernel)


METHODS = {
  "CFR-WASS": make_cfr("CFR-WASS", _wasserstein),
  "CFR-MMD": make_cfr("CFR-MMD", _mmd),
}
