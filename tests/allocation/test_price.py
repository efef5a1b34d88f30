import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from problems import logged, mean, offers

from bidfcl_jax.allocation import choose, price_for_budget
from bidfcl_jax.types import Outcomes, Samples


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_model_price_encloses_the_budget(share):
  outcomes = offers(2_000, 5, dtype=np.float32)
  free = mean(outcomes.cost, reference.best_arms(*_pair(outcomes), 0.0))
  low, high = price_for_budget(outcomes, share * free)
  assert 0 < low < high
  assert high / low - 1 < 3e-7
  feasible = mean(outcomes.cost, choose(outcomes, high))
  above = mean(outcomes.cost, choose(outcomes, low))
  assert feasible <= share * free * (1 + 1e-6)
  assert above > share * free * (1 - 1e-6)
  # One jump apart: at most a few individuals differ.
  assert np.sum(choose(outcomes, high) != choose(outcomes, low)) <= 3


def test_model_price_with_nearly_equal_costs():
  outcomes = offers(1_000, 4, dtype=np.float32)
  cost = outcomes.cost.copy()
  cost[0, 1] = 1e-12  # a slope of 1e10 and more for the upper end
  revenue = outcomes.revenue.copy()
  revenue[0, 1] += 1
  hard = Outcomes(revenue, cost)
  low, high = price_for_budget(hard, 0.01)
  assert high / low - 1 < 3e-7
  assert mean(cost, choose(hard, low)) > 0.01 * (1 - 1e-6)


def test_fc_07_price_is_zero_where_the_budget_does_not_bind():
  outcomes = Outcomes(
    np.array([[0, 1], [0, 1.0]]), np.array([[0, 1], [0, 3.0]])
  )
  for budget in (10.0, 2.0):
    assert [float(p) for p in price_for_budget(outcomes, budget)] == [0, 0]
  low, high = price_for_budget(outcomes, 1.9)
  assert 0 < low <= 1 / 3 <= high


def test_fc_06_zero_costs_and_equal_scores_give_finite_prices():
  free = Outcomes(np.ones((4, 3)), np.zeros((4, 3)))
  assert [float(p) for p in price_for_budget(free, 0.0)] == [0, 0]
  outcomes = Outcomes(
    np.array([[0, 1], [0, 1.0]]), np.array([[0, 0], [0, 1.0]])
  )
  low, high = price_for_budget(outcomes, 0.0)
  assert np.isfinite(high)
  np.testing.assert_array_equal(choose(outcomes, high), [1, 0])
  np.testing.assert_array_equal(choose(outcomes, low), [1, 1])


def test_infeasible_budget_gives_the_price_of_the_cheapest_arms():
  outcomes = Outcomes(np.array([[0, 1.0]]), np.array([[1, 2.0]]))
  low, high = price_for_budget(outcomes, 0.5)
  assert low == high and np.isfinite(high)
  np.testing.assert_array_equal(choose(outcomes, high), [0])


def _last_crossing(spend, budget, reference_price):
  grid = np.append(0, reference_price * np.geomspace(1e-6, 1e6, 64))
  over = [p for p in grid if spend(p) > budget]
  low, high = over[-1], grid[np.searchsorted(grid, over[-1]) + 1]
  for _ in range(60):
    middle = 0.5 * (low + high)
    if spend(middle) > budget:
      low = middle
    else:
      high = middle
  return low, high, grid


@pytest.mark.parametrize("cost", ["ipw", "dr"])
@pytest.mark.parametrize("seed", range(3))
def test_estimated_price_is_the_slow_scans_last_crossing(cost, seed):
  outcomes, samples, share = logged(300, 4, seed, np.float64)
  weight = np.ones(300)
  weight[::7] = 0
  samples = samples.replace(weight=weight)
  model = offers(300, 4, seed + 50)
  pair = _pair(outcomes)
  rows = samples.arm, samples.cost, share, weight

  def spend(price):
    if cost == "ipw":
      return reference.ipw_spend(*pair, price, *rows)
    return reference.dr_spend(*pair, price, *rows, model.cost)

  kept = weight > 0
  revenue, costs = pair[0][kept], pair[1][kept]
  ratio = np.abs(revenue - revenue[:, :1]).sum()
  ratio /= np.abs(costs - costs[:, :1]).sum()
  budget = 0.5 * spend(0.0)
  low, high, grid = _last_crossing(spend, budget, ratio)
  # Float64 and 40 halvings leave a bracket far wider than rounding, which
  # would otherwise decide about the individual at the jump.
  with jax.enable_x64(True):
    found = price_for_budget(
      outcomes,
      budget,
      cost=cost,
      samples=samples,
      propensity=share,
      nuisance=model if cost == "dr" else None,
      halvings=40,
    )
    found = [float(end) for end in found]
  # Several crossings may lie between two points of the grid, so the brackets
  # are compared by what they promise and by the grid interval they lie in.
  assert spend(found[0]) > budget >= spend(found[1])
  assert np.searchsorted(grid, found[1]) == np.searchsorted(grid, high)
  assert 0 < found[0] < found[1] < found[0] * (1 + 1e-9)
  assert all(spend(p) <= budget for p in grid if p > found[1])


def test_ipw_budget_that_does_not_bind_or_cannot_be_met():
  outcomes, samples, share = logged(500, 3)
  ask = dict(cost="ipw", samples=samples, propensity=share)
  assert [float(p) for p in price_for_budget(outcomes, 1e3, **ask)] == [0, 0]
  dear = samples.replace(cost=samples.cost + 1)
  ask["samples"] = dear
  low, high = price_for_budget(outcomes, 0.5, **ask)
  assert low == high and np.isfinite(high) and high > 1e3


@pytest.mark.parametrize("cost", ["model", "ipw", "dr"])
def test_padding_rows_change_nothing(cost):
  outcomes, samples, share = logged(400, 4)
  model = offers(400, 4, 9, np.float32)

  def price(outcomes, samples, model):
    return price_for_budget(
      outcomes,
      0.02,
      cost=cost,
      samples=samples,
      propensity=share,
      nuisance=model,
    )

  def padded(x, fill):
    return np.concatenate([x, np.full((32, *x.shape[1:]), fill, x.dtype)])

  more = Samples(
    padded(samples.features, 0),
    padded(samples.arm, 2),
    padded(samples.revenue, 1e3),
    padded(samples.cost, 1e3),
    padded(samples.weight, 0),
  )
  # Padded predictions with wild slopes would move a bound that counts them.
  extra = np.tile(np.array([0, 1e6, 0, 3], np.float32), (32, 1))
  wide = Outcomes(
    np.concatenate([outcomes.revenue, extra]),
    np.concatenate([outcomes.cost, extra / 7]),
  )
  model_wide = Outcomes(padded(model.revenue, 5), padded(model.cost, 5))
  np.testing.assert_allclose(
    price(wide, more, model_wide), price(outcomes, samples, model), rtol=1e-5
  )


def test_bounds_confine_the_search():
  outcomes, samples, share = logged(1_000, 5)
  ask = dict(cost="ipw", samples=samples, propensity=share)
  free = price_for_budget(outcomes, 0.02, **ask)
  assert free[1] > 0
  inside = price_for_budget(
    outcomes, 0.02, bounds=(free[1] / 4, free[1] * 4), halvings=25, **ask
  )
  assert inside[1] / inside[0] - 1 < 1e-6
  above = price_for_budget(
    outcomes, 0.02, bounds=(2 * free[1], 8 * free[1]), **ask
  )
  assert above[0] == above[1] == 2 * free[1]
  below = price_for_budget(
    outcomes, 0.02, bounds=(free[1] / 99, free[1] / 50), **ask
  )
  assert below[0] == below[1] == free[1] / 50


def test_sixteen_halvings_within_two_octaves_each_way():
  outcomes, samples, share = logged(1_000, 5)
  ask = dict(cost="ipw", samples=samples, propensity=share)
  for off in (0.3, 0.9, 3.7):
    middle = off * price_for_budget(outcomes, 0.02, **ask)[1]
    low, high = price_for_budget(
      outcomes, 0.02, bounds=(middle / 4, middle * 4), halvings=16, **ask
    )
    assert 0 < high / low - 1 < 1e-4


def test_infinite_bound_with_a_free_arm_that_is_not_the_first():
  # At an infinite price 0 * inf would hide the free arm from the search.
  outcomes = Outcomes(
    np.float32([[1, 0], [3, 0]]), np.float32([[1, 0], [1, 0]])
  )
  low, high = price_for_budget(outcomes, 0.5, bounds=(0.0, jnp.inf))
  assert 1 - 1e-6 < low < high <= 1
  low, high = price_for_budget(outcomes, 0.0, bounds=(jnp.inf, jnp.inf))
  assert low == high and np.isfinite(high)


@pytest.mark.parametrize("cost", ["model", "ipw"])
def test_fc_15_ten_budgets_one_trace(cost):
  outcomes, samples, share = logged(200, 3)
  chex.clear_trace_counter()  # one function, two parameters

  @jax.jit
  @chex.assert_max_traces(n=1)
  def price(budget, least):
    return price_for_budget(
      outcomes,
      budget,
      cost=cost,
      samples=samples,
      propensity=share,
      bounds=(least, 4 * least),
    )

  prices = [price(b, 0.1 + b) for b in np.linspace(0.001, 0.1, 10)]
  assert len({float(high) for _, high in prices}) > 1


def test_fc_15_direct_calls_share_one_compilation():
  from bidfcl_jax.allocation import price

  outcomes = offers(211, 3)
  before = price._search._cache_size()
  for budget in np.linspace(0.001, 0.1, 10):
    price_for_budget(outcomes, float(budget))
  assert price._search._cache_size() == before + 1


def test_price_under_vmap_equals_one_by_one():
  stack = [offers(100, 3, seed, np.float32) for seed in range(3)]
  many = jax.tree.map(lambda *x: np.stack(x), *stack)
  together = jax.vmap(lambda o: price_for_budget(o, 0.01))(many)
  for i, one in enumerate(stack):
    np.testing.assert_allclose(
      [p[i] for p in together], price_for_budget(one, 0.01), rtol=1e-6
    )


def test_price_has_no_gradient_and_no_nan():
  outcomes = jax.tree.map(jnp.asarray, offers(50, 3, dtype=np.float32))
  gradient = jax.grad(lambda o: price_for_budget(o, 0.01)[1])(outcomes)
  chex.assert_trees_all_equal(gradient, jax.tree.map(jnp.zeros_like, outcomes))


def test_price_in_float64_mode():
  outcomes = offers(500, 4)
  with jax.enable_x64(True):
    low, high = price_for_budget(outcomes, 0.02, halvings=63)
    assert high.dtype == jnp.float64
    assert 0 < float(high) - float(low) <= np.spacing(float(high))
    assert mean(outcomes.cost, np.asarray(choose(outcomes, high))) <= 0.02


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(cost="mean"), "'mean' is not one of"),
    (dict(samples=None), "needs samples"),
    (dict(propensity=np.ones(2) / 2), r"shape \(2,\).*\(3,\)"),
    (dict(cost="dr"), "needs a nuisance"),
    (dict(outcomes=offers(9, 3)), r"\(9, 3\).*\(10,\)"),
    (dict(outcomes=Outcomes(np.ones((10, 3)), np.ones((10, 2)))), r"\(10, 2\)"),
  ],
)
def test_misuse_is_refused(change, message):
  outcomes, samples, share = logged(10, 3)
  ask = dict(outcomes=outcomes, cost="ipw", samples=samples, propensity=share)
  ask |= change
  with pytest.raises(ValueError, match=message):
    price_for_budget(ask.pop("outcomes"), 0.1, **ask)


def _pair(outcomes):
  return outcomes.revenue, outcomes.cost
