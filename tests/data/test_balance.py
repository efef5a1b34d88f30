import numpy as np
import pytest
from scipy.stats import chisquare

from bidfcl_jax.data.balance import balance, drawn_units, sample_ratio
from bidfcl_jax.types import Samples


def rows(features, arm, group=None):
  zero = np.zeros(len(arm))
  return Samples.create(features, arm, zero, zero, group=group)


def test_sample_ratio_is_pearsons_and_finds_60_40():
  arm = np.repeat([0, 1], [600, 400])
  found = sample_ratio(rows(np.zeros((1000, 1)), arm), [0.5, 0.5])
  assert found.statistic == pytest.approx(40.0)
  assert found.p == pytest.approx(chisquare([600, 400]).pvalue)
  assert found.p < 1e-9
  assert sample_ratio(rows(np.zeros((1000, 1)), arm), [0.6, 0.4]).p == 1


def test_households_that_were_drawn_whole_count_once():
  # 10 households against 10, though one arm's are four times as large.
  group = np.concatenate([np.arange(10), np.repeat(np.arange(10, 20), 4)])
  arm = (group >= 10).astype(int)
  found = sample_ratio(rows(np.zeros((50, 1)), arm, group), [0.5, 0.5])
  np.testing.assert_array_equal(found.counts, [10, 10])
  assert found.p == 1


def test_rows_are_the_units_where_a_household_has_two_arms():
  samples = rows(np.zeros((4, 1)), [0, 1, 1, 1], [7, 7, 8, 8])
  np.testing.assert_array_equal(drawn_units(samples), np.arange(4))
  samples = rows(np.zeros((4, 1)), [0, 0, 1, 1], [7, 7, 3, 3])
  np.testing.assert_array_equal(drawn_units(samples), [1, 1, 0, 0])


def test_omnibus_test_is_pillais_trace():
  rng = np.random.default_rng(0)
  x, arm = rng.standard_normal((60, 3)), rng.integers(0, 3, 60)
  x = x.astype(np.float32).astype(float)
  centred = x - x.mean(axis=0)
  between = sum(
    (arm == j).sum() * np.outer(gap, gap)
    for j in range(3)
    for gap in [centred[arm == j].mean(axis=0)]
  )
  pillai = np.trace(np.linalg.solve(centred.T @ centred, between))
  found = balance(rows(x, arm), 3)
  assert found.statistic == pytest.approx(59 * pillai)
  assert found.degrees == 6
  # A column that others determine adds nothing.
  wide = np.column_stack([x, x[:, 0] - x[:, 1], np.ones(60)])
  again = balance(rows(wide, arm), 3)
  assert again.degrees == 6
  assert again.statistic == pytest.approx(59 * pillai, rel=1e-3)


@pytest.mark.parametrize("household", [1, 3])
def test_p_of_randomised_sets_is_uniform(household):
  rng = np.random.default_rng(1)
  p = []
  for _ in range(300):
    x = np.repeat(rng.standard_normal((150, 4)), household, axis=0)
    arm = np.repeat(rng.integers(0, 3, 150), household)
    group = np.repeat(np.arange(150), household)
    p.append(balance(rows(x, arm, group), 3).p)
  assert abs(np.mean(p) - 0.5) < 0.06
  assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_planted_imbalance_is_found_first():
  rng = np.random.default_rng(2)
  x, arm = rng.standard_normal((900, 5)), rng.integers(0, 3, 900)
  x[arm == 2, 3] -= 0.5
  found = balance(rows(x, arm), 3)
  assert found.p < 1e-6
  place, feature, gap = found.largest(1)[0]
  assert (place, feature) == (2, 3)
  expected = x[arm == 2, 3].mean() - x[arm == 0, 3].mean()
  spread = np.sqrt((x[arm == 2, 3].var() + x[arm == 0, 3].var()) / 2)
  assert gap == pytest.approx(expected / spread, rel=1e-4)


def test_fc_03_constant_features_and_empty_arms_give_no_nan_p():
  found = balance(rows(np.ones((6, 2)), [0, 0, 1, 1, 1, 0]), 3)
  assert (found.degrees, found.p) == (0, 1.0)
  np.testing.assert_array_equal(found.difference[0], 0)
  assert np.isnan(found.difference[1]).all()
  assert found.largest(1)[0][0] == 1
