import numpy as np
import pytest
from scipy import stats

from bidfcl_jax.evaluation import holm, paired


def test_paired_agrees_with_scipy():
  rng = np.random.default_rng(0)
  a, b = rng.normal(1.0, 1, 20), rng.normal(0.8, 1, 20)
  got, expected = paired(a, b), stats.ttest_rel(a, b)
  np.testing.assert_allclose((got.t, got.p), (expected[0], expected[1]))
  np.testing.assert_allclose(got.difference, (a - b).mean())
  np.testing.assert_allclose(got.se, got.difference / got.t)
  assert (got.wins, got.n) == ((a > b).sum(), 20)


def test_paired_without_spread():
  # 0.25 is exact in binary, so the differences are equal to the bit.
  same = paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
  assert (same.t, same.p, same.wins) == (0.0, 1.0, 0)
  shifted = paired([1.0, 2.0, 3.0], [1.25, 2.25, 3.25])
  assert (shifted.difference, shifted.t, shifted.p) == (-0.25, -np.inf, 0.0)
  single = paired([2.0], [1.0])
  assert (single.difference, single.wins, single.n) == (1.0, 1, 1)
  assert np.isnan([single.se, single.t, single.p]).all()


def test_paired_refuses():
  with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
    paired([1, 2], [1, 2, 3])
  with pytest.raises(ValueError, match=r"b\[1\] is nan"):
    paired([1, 2], [1, np.nan])


def test_holm_by_hand():
  # 4 x .01, then 3 x .02, then 2 x .03 = .06 (not below the .06 before), 1 x .5
  got = holm([0.03, 0.01, 0.5, 0.02])
  np.testing.assert_allclose(got, [0.06, 0.04, 0.5, 0.06])
  np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
  np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
  with pytest.raises(ValueError, match="1.5"):
    holm([1.5])


def test_holm_keeps_the_family_error_rate():
  rng = np.random.default_rng(1)
  p = rng.random((2000, 10))
  claims = np.mean([(holm(row) < 0.05).any() for row in p])
  assert claims < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
