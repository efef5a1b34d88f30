import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from bidfcl_jax.allocation import choose
from bidfcl_jax.allocation.choice import columns, greatest_slope
from bidfcl_jax.types import Outcomes


def test_choose_breaks_ties_by_cost_then_by_arm():
  revenue = np.array([[2.0, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 3]])
  cost = np.array([[1.0, 0, 0], [0, 2, 1], [2, 1, 1], [0, 0, 1]])
  # At price 1 the scores are (1,1,1), (0,-1,0), (-1,0,0), (0,0,2).
  arms = choose(Outcomes(revenue, cost), 1.0)
  np.testing.assert_array_equal(arms, [1, 0, 1, 2])
  assert arms.dtype == jnp.int32


def test_choose_counts_negative_costs_as_zero_and_takes_one_arm():
  floored = Outcomes(np.array([[1.0, 1.0]]), np.array([[0.0, -5.0]]))
  np.testing.assert_array_equal(choose(floored, 1.0), [0])
  single = Outcomes(np.ones((3, 1)), np.ones((3, 1)))
  np.testing.assert_array_equal(choose(single, 2.0), [0, 0, 0])


def test_choose_matches_the_slow_loop():
  rng = np.random.default_rng(1)
  # Few distinct values: ties in score, and in score and cost, are common.
  revenue = rng.integers(0, 4, (400, 4)).astype(np.float32)
  cost = rng.integers(-1, 3, (400, 4)).astype(np.float32)
  for price in (0.0, 0.5, 1.0, 3.0):
    np.testing.assert_array_equal(
      choose(Outcomes(revenue, cost), price),
      reference.best_arms(revenue, cost, price),
    )


@pytest.mark.parametrize("seed", range(3))
def test_greatest_slope_against_all_pairs(seed):
  rng = np.random.default_rng(seed)
  revenue = rng.normal(size=(40, 4))
  cost = rng.integers(0, 3, (40, 4)).astype(float)
  slopes = [
    (r[j] - r[k]) / (c[j] - c[k])
    for r, c in zip(revenue, cost, strict=True)
    for j in range(4)
    for k in range(4)
    if c[j] > c[k]
  ]
  found = greatest_slope(revenue.T, cost.T, True, xp=np)
  np.testing.assert_allclose(found, max(slopes))
  arms = reference.best_arms(revenue, cost, 1.001 * found)
  np.testing.assert_array_equal(cost[np.arange(40), arms], cost.min(axis=1))


def test_greatest_slope_counts_the_given_rows_and_stays_finite():
  revenue, cost = np.array([[0, 1.0], [0, 9]]), np.array([[0, 1.0], [0, 1]])
  counted = np.array([True, False])
  assert greatest_slope(revenue.T, cost.T, counted, xp=np) == 1
  steep = jax.jit(lambda r, c: greatest_slope([0 * r, r], [0 * c, c], True))
  assert np.isfinite(steep(np.float32([1e30]), np.float32([1e-30])))


@pytest.mark.parametrize("dtype", [np.int32, np.float16, jnp.bfloat16])
def test_columns_are_at_least_float32(dtype):
  cells = jnp.asarray([[0, -1], [2, 3]], dtype)
  revenue, cost = columns(Outcomes(cells, cells))
  assert {x.dtype for x in (*revenue, *cost)} == {jnp.dtype(jnp.float32)}
  np.testing.assert_array_equal(revenue, [[0, 2], [-1, 3]])
  np.testing.assert_array_equal(cost, [[0, 2], [0, 3]])
