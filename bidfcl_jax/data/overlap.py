"""Overlap of the logs: does every kind of individual meet every arm in OBS?

The logging policy is estimated by a multinomial logistic regression of the
arm on the features, fitted on one half of the households and read on the
other half. A linear model sees the main lines of a policy: true propensities
may be smaller, not larger, than what is found here.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from bidfcl_jax.data.splits import split
from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.types import Samples

ROWS = 200_000
_RIDGE = 1e-4


class Overlap(NamedTuple):
  """Estimated propensities of the logs, and what they leave to learn from.

  Attributes:
    propensity: `[n, M]` e_j(x_i) of the rows that were looked at.
    arm: `[n]` the arms that these rows received.
    smallest: `[M]` least propensity of each arm over all rows.
    below: threshold -> `[M]` share of rows whose propensity is under it.
    rows: `[M]` rows of each arm.
    effective: `[M]` effective sample size of each arm under weights
      1 / e_t(x), of the same rows.
  """

  propensity: np.ndarray
  arm: np.ndarray
  smallest: np.ndarray
  below: dict[float, np.ndarray]
  rows: np.ndarray
  effective: np.ndarray


def effective_size(weight: np.ndarray) -> float:
  """Returns (sum w)^2 / sum w^2, 0 where all weights are 0."""
  weight = np.asarray(weight, np.float64)
  largest = weight.max(initial=0.0)
  if largest <= 0:
    return 0.0
  # Squares of large weights would overflow: the size has no unit.
  weight = weight / largest
  return float(weight.sum() ** 2 / (weight**2).sum())


def fit_propensity(
  features: np.ndarray, arm: np.ndarray, arms: int
) -> tuple[np.ndarray, np.ndarray]:
  """Fits log e_j(x) = a_j + x b_j - log Z(x) with a tiny ridge.

  Args:
    features: `[n, d]`, standardised.
    arm: `[n]` codes.
    arms: M.

  Returns:
    (intercepts `[M]`, slopes `[d, M]`), finite also for separable arms and
    for arms without a row.
  """
  x = np.asarray(features, np.float64)
  own = np.eye(arms)[arm]
  start = np.log((own.sum(axis=0) + 0.5) / (len(x) + 0.5 * arms))
  # The ridge pulls intercepts to the smoothed shares and slopes to 0.
  shape = (x.shape[1] + 1, arms)

  def loss(flat):
    w = flat.reshape(shape)
    logits = x @ w[1:] + w[0] + start
    log_e = log_softmax(logits, axis=1)
    error = (np.exp(log_e) - own) / len(x)
    gradient = np.vstack([error.sum(axis=0), x.T @ error]) + _RIDGE * w
    value = -np.sum(log_e * own) / len(x) + 0.5 * _RIDGE * np.sum(w**2)
    return value, gradient.ravel()

  w = minimize(
    loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B",
    options={"maxiter": 100, "ftol": 1e-7},
  ).x.reshape(shape)  # fmt: skip
  return w[0] + start, w[1:]


def summarise_overlap(
  propensity: np.ndarray, arm: np.ndarray, thresholds=(0.01, 0.05)
) -> Overlap:
  """Reads smallest propensities and effective sizes off given propensities.

  Args:
    propensity: `[n, M]`.
    arm: `[n]` arms received.
    thresholds: of the shares in `below`.
  """
  arms = propensity.shape[1]
  tiny = np.finfo(np.float64).tiny
  own = np.maximum(propensity[np.arange(len(arm)), arm], tiny)
  return Overlap(
    propensity,
    arm,
    smallest=propensity.min(axis=0),
    below={t: np.mean(propensity < t, axis=0) for t in thresholds},
    rows=np.bincount(arm, minlength=arms),
    effective=np.array(
      [effective_size(1 / own[arm == j]) for j in range(arms)]
    ),
  )


def overlap(
  obs: Samples, arms: int, key: jax.Array, *, max_rows: int = ROWS
) -> Overlap:
  """Estimates the logging policy and how much of the logs it leaves.

  Args:
    obs: logged rows, features standardised.
    arms: M.
    key: of the two halves, and of the rows that are looked at.
    max_rows: more rows than these are not looked at.
  """
  features, arm = np.asarray(obs.features), np.asarray(obs.arm)
  group = np.asarray(obs.group)
  if len(arm) > max_rows:
    generator = host_generator(stream(key, "rows"))
    rows = np.sort(generator.choice(len(arm), max_rows, replace=False))
    features, arm, group = features[rows], arm[rows], group[rows]
  halves = split(group, {"a": 0.5, "b": 0.5}, stream(key, "halves"))
  propensity = np.empty((len(arm), arms))
  for fit, read in (("a", "b"), ("b", "a")):
    intercept, slope = fit_propensity(
      features[halves[fit]], arm[halves[fit]], arms
    )
    logits = features[halves[read]].astype(np.float64) @ slope + intercept
    propensity[halves[read]] = softmax(logits, axis=1)
  return summarise_overlap(propensity, arm)
