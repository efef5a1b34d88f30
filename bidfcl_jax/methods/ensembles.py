"""Weighted means of an OBS and an RCT model's predictions (baselines.md 6).

  AVG   r_hat = (1 - w) r_OBS + w r_RCT, the same for cost, one w of 21
  AVG2  a weight of its own for cost, of an 11 x 11 grid

Weights are chosen by factual squared error on the validation rows, also where
checkpoints are chosen by EOM: on a small validation set EOM is mostly noise.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import AverageConfig, Config
from bidfcl_jax.keys import host_generator
from bidfcl_jax.methods.members import host_stage
from bidfcl_jax.methods.method import Method, Scale, Stage, State, to_money
from bidfcl_jax.methods.two_stage import obs_stage, rct_stage
from bidfcl_jax.methods.updates import plain_init
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Array, Outcomes, Samples, Study


@struct.dataclass
class AverageState(State):
  """State of AVG and AVG2; `target` is the RCT model.

  Attributes:
    first: parameters of the OBS model.
    weight: `[2]`, the share of the RCT model in revenue and in cost.
  """

  first: Any
  weight: jax.Array


def mixed_outcomes(
  first: Outcomes, second: Outcomes, weight, cost_weight=None
) -> Outcomes:
  """Returns (1 - weight) first + weight second; exact at 0 and 1.

  Args:
    first: `[n, M]`.
    second: `[n, M]`.
    weight: share of `second`.
    cost_weight: its share in cost; None: the same.
  """
  shares = Outcomes(weight, weight if cost_weight is None else cost_weight)
  return jax.tree.map(
    lambda a, b, w: (1 - w) * a + w * b, first, second, shares
  )


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
  errors: Array,
  generator: np.random.Generator,
  *,
  replicates: int,
  places: np.ndarray | None = None,
) -> int:
  """Chooses among candidates guarded against the winner's curse.

  Takes the candidate nearest the middle of all, among those whose mean error is
  within one bootstrap standard error (of the difference to the best) of the
  best.

  Args:
    errors: `[n, k]` squared errors of k candidates on the same rows.
    generator: for the bootstrap.
    replicates: bootstrap draws.
    places: `[k, p]` where the candidates lie; None: evenly on a line.

  Returns:
    The position of the chosen candidate.
  """
  rows, candidates = errors.shape
  if places is None:
    places = np.arange(candidates)[:, None]
  mean = errors.mean(axis=0)
  best = int(np.argmin(mean))
  excess = errors - errors[:, best : best + 1]
  shares = np.full(rows, 1 / rows)
  # One draw at a time: all of them would take replicates x n counts.
  means = [
    generator.multinomial(rows, shares) @ excess / rows
    for _ in range(replicates)
  ]
  se = np.std(means, axis=0)
  near = np.flatnonzero(mean - mean[best] <= se)
  away = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
  return int(near[np.argmin(away[near])])


def rct_after_obs(config: Config, network: Network) -> Stage:
  """The RCT stage, which first puts the OBS model aside."""
  stage = rct_stage(config, network)

  def enter(key, state, study):
    return stage.enter(key, state.replace(first=state.target), study)

  return stage._replace(enter=enter)


def both_models(network: Network):
  """Returns (state, features) -> Outcomes of the OBS and of the RCT model."""

  def apply(state, features) -> tuple[Outcomes, Outcomes]:
    first, second = (
      to_money(network.apply(params, features), state.scale)
      for params in (state.first, state.target)
    )
    return first, second

  return apply


def _weigh(
  settings: AverageConfig, network: Network, places: np.ndarray
) -> Stage:
  """Chooses among weights `[k, 2]` by validation MSE; nothing is trained."""
  models = both_models(network)

  def enter(key, state, study: Study):
    samples = study.rct_valid
    first, second = apply_in_chunks(models, state, samples.features)
    errors = np.empty((len(samples), len(places)))
    for k, w in enumerate(places):
      mixed = mixed_outcomes(first, second, *w)
      errors[:, k] = squared_errors(mixed, samples, state.scale)
    chosen = choose_weight(
      errors,
      host_generator(key),
      replicates=settings.replicates,
      places=places,
    )
    return state.replace(weight=jnp.asarray(places[chosen], float))

  return host_stage("weigh", enter)


def _make_average(name: str, config: Config, places: np.ndarray) -> Method:
  network = make_target(config.network)
  plain = plain_init(network, config.obs)
  both = both_models(network)

  def init(key, study: Study) -> AverageState:
    base = plain(key, study)
    return AverageState(
      **vars(base), first=base.target, weight=jnp.full(2, 0.5)
    )

  def predict(state: AverageState, features) -> Outcomes:
    return mixed_outcomes(*both(state, features), *state.weight)

  return Method(
    name=name,
    init=init,
    stages=(
      obs_stage(config, network),
      rct_after_obs(config, network),
      _weigh(config.average, network, places),
    ),
    predict=predict,
  )


def make_average(config: Config) -> Method:
  """AVG: one weight for revenue and cost."""
  line = np.linspace(0, 1, config.average.points)
  return _make_average("AVG", config, np.stack([line, line], axis=1))


def make_two_weights(config: Config) -> Method:
  """AVG2: a weight for revenue and one for cost."""
  line = np.linspace(0, 1, config.simple.grid)
  revenue, cost = np.meshgrid(line, line, indexing="ij")
  places = np.stack([revenue.ravel(), cost.ravel()], axis=1)
  return _make_average("AVG2", config, places)


METHODS = {"AVG": make_average, "AVG2": make_two_weights}
