"""TSM-CF: causal forests, one per arm against control (baselines.md 2.2).

Wager & Athey (JASA 2018), generalised random forests (Athey, Tibshirani, Wager,
Ann. Stat. 2019), by econml, the optional extra `forest`. On RCT honest trees
split on how the effect differs; on OBS outcome and treatment are first replaced
by what is left of them after a cross-fitted random forest each.

  r_hat_j = effect on revenue,   c_hat_j = mean control cost + effect on cost

Revenue has no level (r_hat_0 = 0): decisions read differences alone. Forests
live in memory and predict on the host; no stage, nothing to resume.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bidfcl_jax.config import Config, ForestConfig
from bidfcl_jax.data.splits import split
from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.methods.effects import arm_means
from bidfcl_jax.methods.method import Method
from bidfcl_jax.types import Outcomes, Samples, Study


class Forests(NamedTuple):
  """What a TSM-CF has learnt; not a State, since it is no tree of arrays.

  Attributes:
    arms: a fitted forest an arm from arm 1 on; `predict(x)` gives effects
      `[n, outcomes, 1]` on revenue, and on cost where it is learnt.
    control_cost: mean cost of the control.
    known_cost: `[M]` or None.
    target: (), as no parameter is trained by gradients.
  """

  arms: tuple[Any, ...]
  control_cost: float
  known_cost: np.ndarray | None
  target: tuple = ()


def _libraries():
  try:
    from econml.grf import CausalForest, MultiOutputGRF
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import cross_val_predict
  except ImportError as error:
    raise ValueError(
      "TSM-CF needs econml, an optional extra of this package: pip install "
      "'bidfcl_jax[forest]'"
    ) from error
  return (
    CausalForest,
    MultiOutputGRF,
    RandomForestClassifier,
    RandomForestRegressor,
    cross_val_predict,
  )


def pair_rows(
  samples: Samples, arm: int, most: int, generator: np.random.Generator
) -> np.ndarray:
  """Returns positions of the rows of control and `arm`, at most `most`.

  Raises:
    ValueError: one of the two has fewer than two rows.
  """
  given = np.asarray(samples.arm)
  rows = np.flatnonzero((given == 0) | (given == arm))
  if len(rows) > most:
    rows = np.sort(generator.choice(rows, most, replace=False))
  for one in (0, arm):
    if np.count_nonzero(given[rows] == one) < 2:
      raise ValueError(
        f"TSM-CF compares arm {arm} with the control, but arm {one} has fewer "
        "than two rows; leave the arm out or use a method with one network"
      )
  return rows


def cross_fits(
  group: np.ndarray, folds: int, key: jax.Array
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns (rows to fit on, rows to predict) of each fold.

  Households are dealt at random: rows of a file may be sorted.
  """
  shares = {f"fold {k}": 1 / folds for k in range(folds)}
  every = np.arange(len(group))
  return [
    (np.setdiff1d(every, rows, assume_unique=True), rows)
    for rows in split(group, shares, key).values()
  ]


def _left_after(
  features, treated, outcomes, settings: ForestConfig, seed: int, folds
) -> tuple[np.ndarray, np.ndarray]:
  """Returns treatment and outcomes minus cross-fitted predictions of them."""
  _, _, classifier, regressor, cross = _libraries()
  shape = {
    "n_estimators": settings.nuisance_trees,
    "max_depth": settings.nuisance_depth,
    "min_samples_leaf": max(
      1, min(settings.nuisance_leaf, len(features) // 20)
    ),
    "max_samples": 0.7,
    "random_state": seed,
    "n_jobs": -1,
  }
  expected = cross(
    classifier(**shape), features, treated, cv=folds, method="predict_proba"
  )
  likely = [
    cross(regressor(**shape), features, column, cv=folds)
    for column in outcomes.T
  ]
  return treated - expected[:, 1], outcomes - np.stack(likely, axis=1)


def fit_pair(
  samples: Samples,
  arm: int,
  settings: ForestConfig,
  key: jax.Array,
  *,
  confounded: bool,
  learn_cost: bool,
):
  """Fits the effects of one arm against control.

  Args:
    samples: rows of any arms.
    arm: j.
    settings: sizes.
    key: of the rows that are drawn, of the folds and of the trees.
    confounded: whether nuisances are taken out first (OBS).
    learn_cost: False: effects on revenue alone.

  Returns:
    A fitted econml forest.
  """
  causal, several, *_ = _libraries()
  generator = host_generator(key)
  rows = pair_rows(samples, arm, settings.rows, generator)
  features = np.asarray(samples.features, np.float64)[rows]
  treated = (np.asarray(samples.arm)[rows] == arm).astype(np.float64)
  columns = [samples.revenue, samples.cost] if learn_cost else [samples.revenue]
  outcomes = np.stack([np.asarray(c, np.float64)[rows] for c in columns], 1)
  seed = int(generator.integers(2**31))
  if confounded:
    group = np.asarray(samples.group)[rows]
    folds = cross_fits(group, settings.folds, stream(key, "folds"))
    treated, outcomes = _left_after(
      features, treated, outcomes, settings, seed, folds
    )
  forest = several(
    causal(
      # The library grows trees in groups of four.
      n_estimators=4 * -(-settings.trees // 4),
      max_depth=settings.depth,
      min_samples_leaf=settings.leaf,
      inference=False,
      random_state=seed,
    )
  )
  return forest.fit(features, treated[:, None], outcomes)


def predict_forests(state: Forests, features) -> Outcomes:
  """Returns Outcomes of NumPy arrays `[n, M]`, original units; on the host."""
  x = np.asarray(features, np.float64)
  effects = [forest.predict(x)[:, :, 0] for forest in state.arms]
  none = np.zeros(len(x))
  revenue = np.stack([none, *(e[:, 0] for e in effects)], axis=1)
  if state.known_cost is not None:
    cost = np.broadcast_to(state.known_cost, revenue.shape)
  else:
    cost = np.stack([none, *(e[:, 1] for e in effects)], axis=1)
    cost = cost + state.control_cost
  dtype = jax.dtypes.canonicalize_dtype(np.float64)
  return Outcomes(revenue.astype(dtype), np.asarray(cost, dtype))


def make_forests(name: str, source: str) -> Callable[[Config], Method]:
  """Returns config -> TSM-CF on "rct" or "obs" rows."""

  def make(config: Config) -> Method:
    def fit(key, study: Study) -> Forests:
      samples = study.rct_train if source == "rct" else study.obs
      known = study.known_cost
      arms = tuple(
        fit_pair(
          samples,
          arm,
          config.forest,
          jax.random.fold_in(key, arm),
          confounded=source == "obs",
          learn_cost=known is None,
        )
        for arm in range(1, study.arms)
      )
      control = float(arm_means(samples, study.arms).cost[0])
      return Forests(arms, control, known)

    return Method(
      name=name, init=None, stages=(), predict=predict_forests, fit=fit
    )

  return make


METHODS = {
  "TSM-CF-RCT": make_forests("TSM-CF-RCT", "rct"),
  "TSM-CF-OBS": make_forests("TSM-CF-OBS", "obs"),
}
