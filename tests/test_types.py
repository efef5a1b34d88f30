import jax
import numpy as np
import pytest

from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.types import Allocation, Outcomes, Samples


def test_fc_05_a_column_matrix_is_squeezed_not_broadcast():
  y = np.array([1.0, 2.0, 3.0])
  samples = Samples.create(np.zeros((3, 1)), [0, 0, 0], y[:, None], y[:, None])
  predicted = Outcomes(y[:, None], y[:, None])
  assert factual_loss(predicted, samples) == 0.0


def test_fc_05_layouts_give_the_same_bits():
  x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
  wide = np.zeros((6, 8), np.float32)
  wide[:, ::2] = x
  for other in (x.astype(np.float64), np.asfortranarray(x), wide[:, ::2]):
    made = Samples.create(other, np.zeros(6), np.ones(6), np.ones(6))
    np.testing.assert_array_equal(made.features, x)
    assert made.features.flags.c_contiguous


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"revenue": np.ones(9)}, "10 rows but revenue has 9"),
    ({"cost": np.ones((10, 2))}, "cost has shape"),
    ({"arm": np.full(10, 1.5)}, "whole numbers"),
    ({"features": np.full((10, 2), np.nan)}, "not finite"),
  ],
)
def test_fc_05_misfits_are_refused(change, words):
  rows = {
    "features": np.ones((10, 2)),
    "arm": np.zeros(10),
    "revenue": np.ones(10),
    "cost": np.ones(10),
  }
  with pytest.raises(ValueError, match=words):
    Samples.create(**{**rows, **change})


def test_defaults_survive_transformations():
  samples = Samples.create(np.ones((3, 2)), [0, 1, 1], [1, 2, 3], [0, 0, 0])
  np.testing.assert_array_equal(samples.weight, 1)
  np.testing.assert_array_equal(samples.group, [0, 1, 2])
  assert jax.jit(lambda s: s)(samples).weight.shape == (3,)


def test_fc_05_one_row_gives_a_finite_loss():
  samples = Samples.create(np.ones((1, 2)), [1], [3.0], [1.0])
  predicted = Outcomes(np.zeros((1, 2)), np.zeros((1, 2)))
  assert factual_loss(predicted, samples) == 10.0


def test_expected_spend_of_an_allocation_mixes_both_sides():
  names = Allocation.__dataclass_fields__
  made = Allocation(**dict.fromkeys(names, 0.0)).replace(
    cost=1.0, cost_over=3.0, revenue=10.0, revenue_over=14.0, mix=0.25
  )
  assert made.expected_cost == 1.5
  assert made.expected_revenue == 11.0


def test_scores_charge_the_price_of_cost():
  outcomes = Outcomes(np.array([[1.0, 5.0]]), np.array([[0.0, 2.0]]))
  np.testing.assert_array_equal(outcomes.score(0.5), [[1.0, 4.0]])
