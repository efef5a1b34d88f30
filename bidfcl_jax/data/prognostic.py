"""The prognostic score s(x): what would happen without treatment.

A regression of an outcome on features among control rows, standardised over
the rows that it ranks (data.md, section 4, step 2). The hybrid's logging
policy follows it.
"""

import numpy as np
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
    `[n]` score, mean 0 and standard deviation 1 over the pool (0 throughout
    where it is constant).

  Raises:
    ValueError: no control row, or an outcome that is constant over them.
  """
  if len(outcome) == 0 or np.ptp(outcome) == 0:
    seen = f"is always {outcome[0]:g}" if len(outcome) else "is not seen"
    raise ValueError(
      f"the prognostic outcome {seen} among the {len(outcome)} control rows "
      "of RCT-train, so no score can be learnt; give RCT-train a larger share "
      "or choose another outcome"
    )
  scalers = fit_scalers(controls, outcome, outcome)
  x = standardise(scalers, controls).astype(np.float64)
  design = np.column_stack([np.ones(len(x)), x])
  binary = np.isin(outcome, (0, 1)).all()
  w = (_logistic if binary else _least_squares)(design, outcome)
  linear = w[0] + standardise(scalers, pool).astype(np.float64) @ w[1:]
  linear = linear - linear.mean()
  sd = linear.std()
  return linear / (sd if sd > 0 else 1.0)
