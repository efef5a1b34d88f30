"""Averages of separately trained models (baselines.md 6).

AVG: r_hat = (1 - w) r_OBS + w r_RCT, the same for cost, with one w chosen on
the validation rows.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import AverageConfig, Config
from bidfcl_jax.keys import host_generator
from bidfcl_jax.methods.method import (
  Method,
  Scale,
  Stage,
  State,
  to_money,
)
from bidfcl_jax.methods.two_stage import obs_stage, rct_stage
from bidfcl_jax.methods.updates import plain_init
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.types import Array, Outcomes, Samples, Study


@struct.dataclass
class AverageState(State):
  """State of AVG; `target` is the RCT model.

  Attributes:
    first: parameters of the OBS model.
    weight: w, the share of the RCT model.
  """

  first: Any
  weight: jax.Array


def mixed_outcomes(first: Outcomes, second: Outcomes, weight) -> Outcomes:
  """Returns (1 - weight) first + weight second; exact at 0 and 1."""
  return jax.tree.map(lambda a, b: (1 - weight) * a + weight * b, first, second)


def squared_errors(predicted: Outcomes, samples: Samples, scale: Scale):
  """Factual squared errors of each row in scaled units, `[n]`, float64."""
  rows = np.arange(len(samples))

  def error(cells, observed, unit):
    gap = np.asarray(cells, np.float64)[rows, samples.arm] - observed
    return (gap / np.float64(unit)) ** 2

  total = error(predicted.revenue, samples.revenue, scale.revenue)
  if scale.learn_cost:
    total = total + error(predicted.cost, samples.cost, scale.cost)
  return total


def choose_weight(
  errors: Array, generator: np.random.Generator, *, replicates: int
) -> int:
  """Chooses among candidates guarded against the winner's curse.

  Takes the candidate nearest the middle of those whose mean error is within one
  bootstrap standard error (of the difference to the best) of the best.

  Args:
    errors: `[n, k]` squared errors of k candidates on the same rows.
    generator: for the bootstrap.
    replicates: bootstrap draws.

  Returns:
    The position of the chosen candidate.
  """
  rows, candidates = errors.shape
  mean = errors.mean(axis=0)
  best = int(np.argmin(mean))
  excess = errors - errors[:, best : best + 1]
  draws = generator.multinomial(rows, np.full(rows, 1 / rows), replicates)
  se = (draws @ excess / rows).std(axis=0)
  near = np.flatnonzero(mean - mean[best] <= se)
  middle = (candidates - 1) / 2
  return int(near[np.argmin(np.abs(near - middle))])


def _rct_after_obs(config: Config, network: Network) -> Stage:
  """The RCT stage, which first puts the OBS model aside."""
  stage = rct_stage(config, network)

  def enter(key, state, study):
    return stage.enter(key, state.replace(first=state.target), study)

  return stage._replace(enter=enter)


def _both(network: Network):
  """Returns (state, features) -> Outcomes of the OBS and of the RCT model."""

  def apply(state: AverageState, features) -> tuple[Outcomes, Outcomes]:
    first, second = (
      to_money(network.apply(params, features), state.scale)
      for params in (state.first, state.target)
    )
    return first, second

  return apply


def _weigh(settings: AverageConfig, network: Network) -> Stage:
  """Chooses w by validation MSE; nothing is trained."""

  def enter(key, state, study: Study):
    samples = study.rct_valid
    first, second = jax.jit(_both(network))(state, samples.features)
    weights = np.linspace(0, 1, settings.points)
    errors = [
      squared_errors(mixed_outcomes(first, second, w), samples, state.scale)
      for w in weights
    ]
    chosen = choose_weight(
      np.stack(errors, axis=1),
      host_generator(key),
      replicates=settings.replicates,
    )
    return state.replace(weight=jnp.asarray(weights[chosen], float))

  return Stage(
    name="weigh",
    reads="rct",
    batch=1,
    epochs=0,
    period=1,
    keep=False,
    apply=None,
    enter=enter,
    fixed=lambda state, study: None,
    step=None,
  )


def make_average(config: Config) -> Method:
  """AVG: a weighted mean of the OBS and the RCT model's predictions."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)
  both = _both(network)

  def init(key, study: Study) -> AverageState:
    base = plain(key, study)
    return AverageState(
      **vars(base), first=base.target, weight=jnp.asarray(0.5, float)
    )

  def predict(state: AverageState, features) -> Outcomes:
    return mixed_outcomes(*both(state, features), state.weight)

  return Method(
    name="AVG",
    init=init,
    stages=(
      obs_stage(config, network),
      _rct_after_obs(config, network),
      _weigh(config.average, network),
    ),
    predict=predict,
  )


METHODS = {"AVG": make_average}
