import numpy as np
import pytest

from bidfcl_jax.data.scaling import fit_scalers, standardise

ONE = np.array([1.0, 2.0])


def scaled(column, later=()):
  column = np.asarray(column, np.float64)[:, None]
  scalers = fit_scalers(column, ONE, ONE)
  later = np.asarray(later, np.float64).reshape(-1, 1)
  return standardise(scalers, np.concatenate([column, later]))[:, 0]


def test_fc_03_constant_column_is_exactly_zero_and_later_values_shift():
  values = scaled(np.full(1000, 14.62), later=[15.62])
  np.testing.assert_array_equal(values[:-1], 0.0)
  assert values[-1] == pytest.approx(1.0, abs=1e-6)


def test_fc_03_constant_up_to_rounding_keeps_scale_one():
  # 0.1 + 0.2 and 0.3 differ in the last bit only.
  column = np.where(np.arange(1000) % 2, 0.1 + 0.2, 0.3)
  values = scaled(column, later=[1.3])
  assert np.abs(values[:-1]).max() < 1e-12
  assert values[-1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("size", [1e-8, 1e-200, 1e200])
def test_fc_03_small_and_large_columns_are_not_constant(size):
  values = scaled(np.tile([0.0, size], 500))
  np.testing.assert_allclose(values, np.tile([-1.0, 1.0], 500), atol=1e-3)


def test_fc_03_large_offset_with_real_variation():
  values = scaled(1e9 + np.tile([0.0, 1.0], 500))
  np.testing.assert_allclose(values, np.tile([-1.0, 1.0], 500), atol=1e-5)


def test_fc_03_one_training_row_gives_zero():
  scalers = fit_scalers(np.array([[3.0, -2.0]]), [5.0], [0.0])
  np.testing.assert_array_equal(standardise(scalers, [[3.0, -2.0]]), 0.0)
  assert scalers.revenue == 1 and scalers.cost == 1


def test_agrees_with_numpy_and_blocks_equal_their_join():
  rng = np.random.default_rng(0)
  x = rng.normal(50, [1, 3, 1e-3], (70_001, 3))
  r, c = rng.exponential(9, 500), np.full(500, 0.3)
  scalers = fit_scalers(x, r, c)
  np.testing.assert_allclose(scalers.feature_mean, x.mean(0), rtol=1e-12)
  np.testing.assert_allclose(scalers.feature_scale, x.std(0), rtol=1e-9)
  assert scalers.revenue == pytest.approx(r.std(), rel=1e-12)
  assert scalers.cost == 1  # 0.3 five hundred times is constant
  parts = fit_scalers((x[:999], x[999:]), r, c)
  np.testing.assert_allclose(parts.feature_scale, scalers.feature_scale)
  z = standardise(scalers, x)
  assert z.dtype == np.float32
  np.testing.assert_allclose(z.astype(float).std(0), 1, rtol=1e-5)


def test_fc_05_layout_and_dtype_leave_the_result_bitwise():
  x = np.random.default_rng(1).normal(7, 2, (3001, 4)).astype(np.float32)
  wide = np.zeros((3001, 8))
  wide[:, ::2] = x
  plain = standardise(fit_scalers(x, ONE, ONE), x)
  for view in (x.astype(np.float64), np.asfortranarray(x), wide[:, ::2]):
    other = standardise(fit_scalers(view, ONE, ONE), view)
    np.testing.assert_array_equal(other, plain)


def test_refusals():
  with pytest.raises(ValueError, match="no training row"):
    fit_scalers(np.zeros((0, 2)), ONE, ONE)
  with pytest.raises(ValueError, match="not \\[n, d\\]"):
    fit_scalers(np.zeros(4), ONE, ONE)
  scalers = fit_scalers(np.eye(3), ONE, ONE)
  with pytest.raises(ValueError, match="3 columns"):
    standardise(scalers, np.eye(2))
