import numpy as np
import pytest
from scipy.special import expit

from bidfcl_jax.data.prognostic import prognostic_score

RNG = np.random.default_rng(0)
X = RNG.normal(3, [1, 20, 0.1], (20_000, 3))
LINEAR = (X[:, 0] - 3) - 0.05 * (X[:, 1] - 3)


def correlation(score):
  return np.corrcoef(score, LINEAR)[0, 1]


def test_logistic_score_follows_the_true_log_odds():
  y = (RNG.random(len(X)) < expit(LINEAR - 2)).astype(float)
  score = prognostic_score(X, y, X)
  assert correlation(score) > 0.999
  assert score.mean() == pytest.approx(0, abs=1e-9)
  assert score.std() == pytest.approx(1)


def test_logistic_gradient_vanishes_at_the_fit():
  from bidfcl_jax.data.prognostic import _RIDGE, _logistic

  design = np.column_stack([np.ones(500), RNG.normal(size=(500, 2))])
  y = (RNG.random(500) < 0.3).astype(float)
  w = _logistic(design, y)
  gradient = design.T @ (expit(design @ w) - y) / 500
  gradient[1:] += _RIDGE * w[1:]
  np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_real_outcomes_take_least_squares():
  y = LINEAR + RNG.normal(size=len(X))
  assert correlation(prognostic_score(X, y, X)) > 0.999


def test_separable_and_redundant_columns_stay_finite():
  x = np.column_stack([np.arange(10.0), np.arange(10.0), np.ones(10)])
  score = prognostic_score(x, (np.arange(10) > 4).astype(float), x)
  assert np.all(np.diff(score) > 0)


def test_score_of_identical_pool_rows_is_zero():
  score = prognostic_score(X[:50], LINEAR[:50], np.tile(X[:1], (4, 1)))
  np.testing.assert_array_equal(score, 0)


def test_nothing_to_learn_from_is_told_of(caplog):
  score = prognostic_score(X[:5], np.zeros(5), X)
  np.testing.assert_array_equal(score, np.zeros(len(X)))
  assert "always 0 among the 5 control rows" in caplog.text
  with pytest.raises(ValueError, match="no control row"):
    prognostic_score(X[:0], np.zeros(0), X)
