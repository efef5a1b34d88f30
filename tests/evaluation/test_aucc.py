import hypothesis
import numpy as np
import pytest
import reference
from hypothesis import strategies as st

from bidfcl_jax.evaluation import aucc, aucc_by_weight, aucc_result
from bidfcl_jax.types import Outcomes, Samples


def predictions(score):
  """Outcomes whose ROI is the score."""
  zero = np.zeros_like(score)
  return Outcomes(np.stack([zero, score], 1), np.stack([zero, zero + 1], 1))


def rows(arm, revenue, cost, weight=None):
  return Samples(
    np.zeros((len(arm), 1), np.float32),
    np.asarray(arm, np.int32),
    np.asarray(revenue, np.float32),
    np.asarray(cost, np.float32),
    weight,
  )


def hashed(count, stream):
  """Uniforms of a 64-bit mixing hash: the same numbers everywhere."""
  step, salt = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03
  with np.errstate(over="ignore"):
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step)
    z += np.uint64(stream) * np.uint64(salt)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
      z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(31)
  return (z >> np.uint64(11)) / 2.0**53


def fixed_trial(count):
  gain = 0.02 + 0.10 * hashed(count, 1) ** 2
  spend = 0.05 + 0.20 * hashed(count, 2)
  arm = hashed(count, 3) < 0.5
  revenue = hashed(count, 4) < 0.05 + gain * arm
  cost = hashed(count, 5) < 0.10 + spend * arm
  scores = {
    "oracle": gain / spend,
    "noisy": (gain + 0.1 * (hashed(count, 6) - 0.5)) / spend,
    "random": hashed(count, 7),
  }
  return rows(arm, revenue, cost), scores


def random_trial(seed, count=300):
  rng = np.random.default_rng(seed)
  arm = rng.random(count) < 0.4
  cost = (rng.random(count) < 0.2 + 0.3 * arm) * rng.integers(1, 4, count)
  revenue = (rng.random(count) < 0.3 + 0.2 * arm) * rng.integers(1, 9, count)
  return arm, revenue, cost, rng


@pytest.mark.parametrize(
  ("name", "expected"),
  [("oracle", 0.694731), ("noisy", 0.644780), ("random", 0.504478)],
)
def test_fixed_trial_has_the_published_values(name, expected):
  samples, scores = fixed_trial(100_000)
  got = aucc(predictions(scores[name]), samples)
  np.testing.assert_allclose(got, expected, atol=5e-7)


@pytest.mark.parametrize("bins", [7, 200])
@pytest.mark.parametrize("seed", range(5))
def test_distinct_scores_agree_with_the_loop(seed, bins):
  # 300 rows for 200 levels: levels have to wait for the next row.
  arm, revenue, cost, rng = random_trial(seed)
  score = rng.permutation(len(arm)) / 7.0
  expected = reference.aucc_loop(arm, revenue, cost, score, bins)
  got = aucc(predictions(score), rows(arm, revenue, cost), bins=bins)
  np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("count", [50, 300, 1003])
def test_constant_score_is_a_half(count):
  arm, revenue, cost, _ = random_trial(3, count)
  got = aucc(predictions(np.ones(count)), rows(arm, revenue, cost))
  np.testing.assert_allclose(got, 0.5, rtol=1e-12)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.integers(0, 2**31), st.integers(1, 12))
def test_order_of_rows_is_immaterial(seed, distinct):
  arm, revenue, cost, rng = random_trial(seed, 200)
  score = rng.integers(0, distinct, 200).astype(float)
  samples = rows(arm, revenue, cost)
  first = aucc_result(predictions(score), samples)
  p = rng.permutation(200)
  again = aucc_result(predictions(score[p]), rows(arm[p], revenue[p], cost[p]))
  np.testing.assert_allclose(first[:4], again[:4], rtol=1e-9, atol=1e-12)


def test_block_is_crossed_on_a_straight_line():
  # Blocks: dC 0 -> 1 -> 2 in two halves of equal cost, dR 0 -> 3 -> 4.
  score = np.repeat([2.0, 1.0], 4)
  arm = np.tile([1, 1, 0, 0], 2)
  revenue = np.array([6, 6, 0, 0, 2, 2, 0, 0])
  samples = rows(arm, revenue, 2 * arm)
  levels = np.arange(1, 10) / 10 * 2
  line = np.interp(levels, [0, 1, 2], [0, 3, 4])
  expected = (line.sum() + 4) / 11
  got = aucc_result(predictions(score), samples, bins=10)
  np.testing.assert_allclose(got.raw, expected, rtol=1e-12)
  np.testing.assert_allclose(got.area, expected / 4, rtol=1e-12)
  assert (got.cost, got.revenue) == (2.0, 4.0)


def test_rows_without_money_only_matter_where_levels_wait():
  # 20 levels: none waits; 290 levels on 300 rows: most wait.
  arm, revenue, cost, rng = random_trial(9)
  arm[-1], cost[-1], revenue[-1] = True, 0, 0
  score = rng.permutation(300) / 7.0
  for bins in (20, 290):
    expected = reference.aucc_loop(arm, revenue, cost, score, bins)
    got = aucc(predictions(score), rows(arm, revenue, cost), bins=bins)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_padding_rows_and_whole_weights():
  arm, revenue, cost, rng = random_trial(8)
  score = rng.random(len(arm))
  plain = aucc_result(predictions(score), rows(arm, revenue, cost))
  more = np.concatenate([score, score[:40], np.full(9, 0.5)])
  weight = np.concatenate([np.ones(len(arm)), np.zeros(49)]).astype(np.float32)
  padded = rows(
    np.append(arm, np.ones(49)),
    np.append(revenue, np.full(49, 1e6)),
    np.append(cost, np.full(49, 1e6)),
    weight,
  )
  assert aucc_result(predictions(more), padded) == plain
  # Doubling all weights is a larger sample of the same people.
  by_weight = aucc_by_weight(predictions(score), rows(arm, revenue, cost))
  doubled = by_weight(np.full(len(arm), 2.0))
  np.testing.assert_allclose(doubled[:4], plain[:4], rtol=1e-12)


def test_undefined_areas_say_why():
  score = np.arange(4.0)
  arm = np.array([1, 1, 0, 0])
  free = aucc_result(predictions(score), rows(arm, arm, 1 - arm))
  assert np.isnan(free.area) and np.isnan(free.raw) and "dC -1" in free.reason
  two = aucc_result(predictions(score), rows(arm, arm, 1 - arm), bins=2)
  assert np.isnan(two.area) and two.reason == free.reason
  none = aucc_result(predictions(score), rows(arm, 0 * arm, 0 * arm))
  assert np.isnan(none.area) and "dC 0" in none.reason
  equal = aucc_result(predictions(score), rows(arm, [1, 3, 2, 2], arm))
  assert np.isnan(equal.area) and "dR 0" in equal.reason
  assert np.isfinite(equal.raw)
  alone = aucc_result(predictions(score), rows(0 * arm, arm, arm))
  assert np.isnan(alone.area) and "arm 1" in alone.reason


def test_tiny_cost_differences_are_replaced():
  revenue = np.array([[0.0, 1.0], [0, 1], [0, 1], [0, 1]])
  cost = np.array([[0.0, -1e-9], [0, 1e-6], [0, 1], [0, -1]])
  arm, y = np.array([1, 0, 1, 0]), np.array([1.0, 0, 3, 1])
  got = aucc(Outcomes(revenue, cost), rows(arm, y, 2 * arm))
  score = np.array([1e6, 1e6, 1, -1])
  assert got == aucc(predictions(score), rows(arm, y, 2 * arm))


def test_misuse_is_refused():
  arm, revenue, cost, rng = random_trial(1, 20)
  samples = rows(arm, revenue, cost)
  three = rng.random((20, 3))
  with pytest.raises(ValueError, match="2 arms.*cost_curve"):
    aucc(Outcomes(three, three), samples)
  score = rng.random(20)
  score[4] = np.nan
  with pytest.raises(ValueError, match="row 4"):
    aucc(predictions(score), samples)
  with pytest.raises(ValueError, match="row 7 has arm 2"):
    third = samples.arm.copy()
    third[7] = 2
    aucc(predictions(rng.random(20)), samples.replace(arm=third))
  with pytest.raises(ValueError, match="19 predictions for 20"):
    aucc(predictions(rng.random(19)), samples)


def test_fc_08_same_prediction_under_four_names():
  arm, revenue, cost, rng = random_trial(2)
  score = rng.random(len(arm))
  samples = rows(arm, revenue, cost)
  named = {name: predictions(score) for name in ("a", "b", "c", "d")}
  values = [aucc(outcomes, samples) for outcomes in named.values()]
  assert set(values) == {aucc(predictions(score), samples)}


def test_fc_08_random_scores_average_a_half():
  rng = np.random.default_rng(0)
  arm = rng.random(20_000) < 0.85
  visit = rng.random(20_000) < np.where(arm, 0.10, 0.05)
  conversion = rng.random(20_000) < np.where(arm, 0.02, 0.01)
  samples = rows(arm, conversion, visit)
  results = [
    aucc_result(predictions(rng.random(20_000)), samples) for _ in range(50)
  ]
  assert abs(np.mean([r.area for r in results]) - 0.5) < 0.06
  gap = conversion[arm].mean() - conversion[~arm].mean()
  np.testing.assert_allclose(results[0].revenue, gap, rtol=1e-6)
  np.testing.assert_allclose(
    results[0].cost, visit[arm].mean() - visit[~arm].mean(), rtol=1e-6
  )


def test_fc_08_ten_best_all_treated():
  arm, revenue, cost, rng = random_trial(5)
  score = rng.random(len(arm)) + 10 * (np.cumsum(arm) <= 10) * arm
  result = aucc_result(predictions(score), rows(arm, revenue, cost))
  assert np.isfinite(result[:4]).all()


@pytest.mark.parametrize(
  "count", [3_000_000, pytest.param(10_001_000, marks=pytest.mark.slow)]
)
def test_fc_10_totals_over_many_rows(count):
  # A running float32 sum of 3e6 x 0.1 is off by 1 %, int32 wraps at 2.1e9.
  arm = np.ones(count, np.int32)
  arm[:1000] = 0
  samples = rows(arm, 1000 * arm, 0.1 * arm)
  score = np.arange(count, dtype=float)
  result = aucc_result(predictions(score), samples)
  np.testing.assert_allclose(result[:4], (0.5, 500, 0.1, 1000), rtol=1e-5)
  np.testing.assert_allclose(result[2:4], (0.1, 1000), rtol=1e-6)
