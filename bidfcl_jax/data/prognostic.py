"""The prognostic score s(x): what would happen without treatment.

A regression of an outcome on features among control rows, standardised over
the rows that it ranks (data.md, section 4, step 2). The hybrid's logging
policy follows it.
"""

import numpy as np
from absl import logging
from scipy.optimize import minimize
from scipy.special import expit

from bidfcl_jax.data.scaling import fit_scalers, standardise

_RIDGE = 1e-4


def _logistic(design: np.ndarray, outcome: np.ndarray) -> np.ndarray:
  """Returns coefficients of a logistic regression with a tiny ridge."""
  # The ridge keeps separable outcomes finite; the intercept is free.
  penalty = np.full(design.shape[1], _RIDGE)
  penalty[0] = 0.0

  def loss(w):
    z = design @ w
    fit = np.mean(np.logaddexp(0, z) - outcome * z)
    return fit + 0.5 * np.sum(penalty * w**2)

  def gradient(w):
    error = expit(design @ w) - outcome
    return design.T @ error / len(outcome) + penalty * w

  def hessian(w):
    p = expit(design @ w)
    curved = design.T @ (design * (p * (1 - p))[:, None]) / len(outcome)
    return curved + np.diag(penalty)

  start = np.zeros(design.shape[1])
  return minimize(
    loss, start, jac=gradient, hess=hessian, method="trust-exact"
  ).x


def _least_squares(design: np.ndarray, outcome: np.ndarray) -> np.ndarray:
  gram = design.T @ design / len(outcome)
  ridge = _RIDGE * np.eye(design.shape[1])
  ridge[0, 0] = 0.0
  return np.linalg.solve(gram + ridge, design.T @ outcome / len(outcome))


def prognostic_score(
  controls: np.ndarray, outcome: np.ndarray, pool: np.ndarray
) -> np.ndarray:
  """Predicts the outcome without treatment, standardised over the pool.

  Args:
    controls: `[m, d]` raw features of RCT-train's control rows.
    outcome: `[m]` their outcome; 0/1 gives a logistic regression (the score is
      its linear predictor), anything else least squares.
    pool: `[n, d]` raw features to score.

  Returns:
    `[n]` score, mean 0 and standard deviation 1 over the pool. 0 throughout
    where it is constant, or the outcome is (then a warning is logged): a
    logging policy that follows it has no bias.

  Raises:
    ValueError: no control row.
  """
  if len(outcome) == 0:
    raise ValueError(
      "RCT-train has no control row, so no prognostic score can be learnt; "
      "give it a larger share"
    )
  if np.ptp(outcome) == 0:
    logging.warning(
      "the prognostic outcome is always %g among the %d control rows of "
      "RCT-train: no score can be learnt, and OBS is drawn without confounding;"
      " give RCT-train a larger share or choose another outcome",
      outcome[0],
      len(outcome),
    )
    return np.zeros(len(pool))
  scalers = fit_scalers(controls, outcome, outcome)
  x = standardise(scalers, controls).astype(np.float64)
  design = np.column_stack([np.ones(len(x)), x])
  binary = np.isin(outcome, (0, 1)).all()
  w = (_logistic if binary else _least_squares)(design, outcome)
  linear = w[0] + standardise(scalers, pool).astype(np.float64) @ w[1:]
  linear = linear - linear.mean()
  sd = linear.std()
  return linear / (sd if sd > 0 else 1.0)
