"""Other combinations of an OBS and an RCT model (baselines.md 6).

AVG-score  the mean of both models' scores a_ij = r_ij - lambda* c_ij, each at
           its own lambda* and divided by its own standard deviation; for two
           arms the mean of both models' ranks
STACK      per arm and outcome y = b + w_1 F_OBS + w_2 F_RCT with w >= 0, by
           ridge on RCT rows whose F_RCT comes from a network that has not
           seen them
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from flax import struct

from bidfcl_jax.allocation import price_for_budget
from bidfcl_jax.config import Config
from bidfcl_jax.evaluation.aucc import SMALLEST_COST, return_on_investment
from bidfcl_jax.losses.value import received
from bidfcl_jax.methods.ensembles import both_models, rct_after_obs
from bidfcl_jax.methods.members import empty_members, host_stage, store_stage
from bidfcl_jax.methods.method import (
  Method,
  State,
  study_budget,
  to_money,
  to_scaled,
)
from bidfcl_jax.methods.pricing import spread_rows
from bidfcl_jax.methods.teachers import unseen_outcomes, without_fold
from bidfcl_jax.methods.two_stage import obs_stage, rct_stage
from bidfcl_jax.methods.updates import plain_init
from bidfcl_jax.models import make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Outcomes, Study

QUANTILES = 1001


@struct.dataclass
class ScoreState(State):
  """State of AVG-score; `target` is the RCT model.

  Attributes:
    first: parameters of the OBS model.
    price: `[2]`, lambda* of the OBS and of the RCT model.
    spread: `[2]`, standard deviation of their scores, money.
    quantiles: `[2, 1001]`, of their returns on investment; two arms only.
  """

  first: Any
  price: jax.Array
  spread: jax.Array
  quantiles: jax.Array


def mixed_scores(models, prices, spreads) -> Outcomes:
  """Returns Outcomes whose score at the mean price is the mean z-score.

  Cost is the mean of both models'. Revenue makes r - lambda c, at the mean
  lambda, the mean of the scores in units of their spread, in money again.

  Args:
    models: two Outcomes `[n, M]`, original units.
    prices: `[2]`.
    spreads: `[2]`.
  """
  unit = jnp.mean(spreads)
  scores = [
    m.score(price) * unit / spread
    for m, price, spread in zip(models, prices, spreads, strict=True)
  ]
  cost = (models[0].cost + models[1].cost) / 2
  mean = (scores[0] + scores[1]) / 2
  return Outcomes(mean + jnp.mean(prices) * cost, cost)


def mixed_ranks(models, quantiles, known_cost=None) -> Outcomes:
  """Returns Outcomes of two arms whose return on investment is the mean rank.

  Args:
    models: two Outcomes `[n, 2]`, original units.
    quantiles: `[2, k]`, of each model's returns on investment.
    known_cost: `[2]`, predicted as it is; None: costs (0, 1).
  """
  levels = jnp.linspace(0, 1, quantiles.shape[1])

  def rank(outcomes, points):
    gain, spend = (
      cells[:, 1] - cells[:, 0] for cells in (outcomes.revenue, outcomes.cost)
    )
    small = jnp.abs(spend) < SMALLEST_COST
    return jnp.interp(
      gain / jnp.where(small, SMALLEST_COST, spend), points, levels
    )

  mean = (rank(models[0], quantiles[0]) + rank(models[1], quantiles[1])) / 2
  cost = jnp.array([0.0, 1.0]) if known_cost is None else known_cost
  step = cost[1] - cost[0]
  revenue = mean[:, None] * jnp.stack([0 * step, step])
  return Outcomes(revenue, jnp.broadcast_to(cost, revenue.shape))


def make_score_average(config: Config) -> Method:
  """AVG-score: the mean of standardised scores, or of ranks."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)
  both = both_models(network)

  def init(key, study: Study) -> ScoreState:
    base = plain(key, study)
    return ScoreState(
      **vars(base),
      first=base.target,
      price=jnp.zeros(2),
      spread=jnp.ones(2),
      quantiles=jnp.zeros((2, QUANTILES)),
    )

  def enter(key, state, study: Study):
    del key
    rows = spread_rows(study.rct_train)
    models = jax.jit(both)(state, rows.features)

    def price_of(outcomes):
      return price_for_budget(
        outcomes,
        study_budget(config, study),
        cost="ipw",
        samples=rows,
        propensity=jnp.asarray(study.propensity, float),
      )[1]

    prices = jnp.stack([price_of(outcomes) for outcomes in models])
    spread = jnp.stack(
      [jnp.std(m.score(price)) for m, price in zip(models, prices, strict=True)]
    )
    state = state.replace(
      price=prices, spread=jnp.where(spread > 0, spread, 1.0)
    )
    if study.arms > 2:
      return state
    levels = np.linspace(0, 1, QUANTILES)
    quantiles = [np.quantile(return_on_investment(m), levels) for m in models]
    return state.replace(quantiles=jnp.asarray(np.stack(quantiles), float))

  def predict(state: ScoreState, features) -> Outcomes:
    models = both(state, features)
    if models[0].revenue.shape[1] == 2:
      return mixed_ranks(models, state.quantiles, state.scale.known_cost)
    return mixed_scores(models, state.price, state.spread)

  return Method(
    name="AVG-score",
    init=init,
    stages=(
      obs_stage(config, network),
      rct_after_obs(config, network),
      host_stage("scores", enter),
    ),
    predict=predict,
  )


@struct.dataclass
class StackState(State):
  """State of STACK; `target` is the RCT model.

  Attributes:
    first: parameters of the OBS model.
    members: RCT models, each blind to one fold, stacked `[folds, ...]`.
    offset: b, Outcomes `[M]`, scaled units.
    weights: w, Outcomes `[M, 2]`: of the OBS and of the RCT model.
  """

  first: Any
  members: Any
  offset: Outcomes
  weights: Outcomes


def stacked(
  predictions: np.ndarray, observed: np.ndarray, ridge: float
) -> tuple[float, np.ndarray]:
  """Fits y = b + w'f with w >= 0 and ridge * |w|^2, b free.

  Args:
    predictions: `[n, p]`.
    observed: `[n]`.
    ridge: penalty.

  Returns:
    (b, w `[p]`), float64.
  """
  f, y = np.asarray(predictions, np.float64), np.asarray(observed, np.float64)
  f_mean, y_mean = f.mean(axis=0), y.mean()
  design = np.vstack([f - f_mean, np.sqrt(ridge) * np.eye(f.shape[1])])
  weights, _ = scipy.optimize.nnls(
    design, np.concatenate([y - y_mean, np.zeros(f.shape[1])])
  )
  return float(y_mean - f_mean @ weights), weights


def make_stack(config: Config) -> Method:
  """STACK: a non-negative ridge on both models' predictions."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)
  folds, ridge = config.simple.folds, config.simple.ridge

  def init(key, study: Study) -> StackState:
    base = plain(key, study)
    half = jnp.full((study.arms, 2), 0.5)
    none = jnp.zeros(study.arms)
    return StackState(
      **vars(base),
      first=base.target,
      members=empty_members(base.target, folds),
      offset=Outcomes(none, none),
      weights=Outcomes(half, half),
    )

  def enter(key, state, study: Study):
    del key
    rct = study.rct_train
    first = apply_in_chunks(network.apply, state.first, rct.features)
    unseen = unseen_outcomes(network, state.members, rct)
    scaled = to_scaled(rct, state.scale)
    arm = np.asarray(rct.arm)

    def fit(one, two, observed):
      seen = np.stack([received(one, arm), received(two, arm)], axis=1)
      observed = np.asarray(observed)
      pairs = [
        stacked(seen[arm == j], observed[arm == j], ridge)
        for j in range(study.arms)
      ]
      offset, weights = zip(*pairs, strict=True)
      return jnp.asarray(offset, float), jnp.asarray(np.stack(weights), float)

    revenue = fit(first.revenue, unseen.revenue, scaled.revenue)
    cost = fit(first.cost, unseen.cost, scaled.cost)
    return state.replace(
      offset=Outcomes(revenue[0], cost[0]),
      weights=Outcomes(revenue[1], cost[1]),
    )

  def predict(state: StackState, features) -> Outcomes:
    cells = jax.tree.map(
      lambda b, w, one, two: b + w[:, 0] * one + w[:, 1] * two,
      state.offset,
      state.weights,
      network.apply(state.first, features),
      network.apply(state.target, features),
    )
    return to_money(cells, state.scale)

  blind = []
  for fold in range(folds):
    stage = without_fold(rct_stage(config, network), fold, folds)
    blind += [stage._replace(name=f"rct-{fold + 2}"), store_stage(fold)]
  blind[0] = blind[0]._replace(enter=rct_after_obs(config, network).enter)
  return Method(
    name="STACK",
    init=init,
    stages=(
      obs_stage(config, network),
      *blind,
      rct_stage(config, network),
      host_stage("stack", enter),
    ),
    predict=predict,
  )


METHODS = {"AVG-score": make_score_average, "STACK": make_stack}
