import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import strategies as st

from bidfcl_jax.evaluation import eom, eom_core, eom_result
from bidfcl_jax.types import Outcomes, Samples


def trial(seed, n=80, arms=3, dtype=np.float32):
  rng = np.random.default_rng(seed)
  arm = rng.permutation(np.arange(n) % arms)
  samples = Samples(
    np.zeros((n, 1), np.float32),
    arm.astype(np.int32),
    rng.exponential(1 + arm).astype(dtype),
    (rng.exponential(1.0, n) * arm).astype(dtype),
  )
  level = np.arange(arms)
  outcomes = Outcomes(
    np.cumsum(rng.exponential(1.0, (n, arms)), 1).astype(dtype),
    (level * rng.uniform(0.5, 2, (n, 1))).astype(dtype),
  )
  return outcomes, samples, rng


def all_prices(outcomes):
  """0, and a price between (and beyond) all breakpoints."""
  r, c = (np.asarray(y, np.float64) for y in (outcomes.revenue, outcomes.cost))
  j, k = np.triu_indices(r.shape[1], 1)
  slope = (r[:, k] - r[:, j]) / (c[:, k] - c[:, j])
  points = np.unique(np.append(slope[slope > 0], 0.0))
  return [0.0, *(points[1:] + points[:-1]) / 2, 2 * points[-1]]


@pytest.mark.parametrize("estimator", ["ipw", "snipw", "dr"])
@pytest.mark.parametrize("seed", range(4))
def test_both_modes_agree_with_trying_every_price(seed, estimator):
  outcomes, samples, rng = trial(seed)
  model = None
  if estimator == "dr":
    noise = rng.uniform(0.5, 1.5, outcomes.cost.shape)
    model = Outcomes(outcomes.revenue * noise, outcomes.cost * noise)
  samples = samples.replace(
    weight=rng.integers(0, 3, len(samples)).astype(np.float32)
  )
  share = np.array([0.3, 0.3, 0.4])
  budget = 0.8
  under, over = reference.eom_loop(
    np.asarray(outcomes.revenue, np.float64),
    np.asarray(outcomes.cost, np.float64),
    samples,
    share,
    budget,
    all_prices(outcomes),
    estimator,
    model,
  )
  options = {"estimator": estimator, "nuisance": model}
  letter = eom_result(outcomes, samples, share, budget, exact=False, **options)
  np.testing.assert_allclose(letter[:2], under[:2], rtol=1e-9)
  exact = eom_result(outcomes, samples, share, budget, **options)
  assert exact.price == letter.price > 0
  np.testing.assert_allclose(exact.cost, budget, rtol=1e-12)
  assert exact.cost <= budget
  # The pooled estimate of the mixed policy, masses and all.
  mass = np.array([(1 - exact.mix) * under[2], exact.mix * over[2]])
  pooled = mass @ np.array([under[:2], over[:2]]) / mass.sum()
  np.testing.assert_allclose((exact.revenue, exact.cost), pooled, rtol=1e-9)
  assert not (exact.not_binding or exact.mixed_with_control)


def test_last_crossing_is_taken():
  # Estimated spend by price: 0 at 0, 2 in (1, 2), 0 beyond, though every
  # step saves predicted cost.
  arm = np.array([1, 1, 2, 2, 0, 0], np.int32)
  outcomes = Outcomes(np.array([[0.0, 2, 3]] * 6), np.array([[0.0, 1, 2]] * 6))
  samples = Samples(
    np.zeros((6, 1), np.float32),
    arm,
    np.array([5.0, 5, 1, 1, 0, 0]),
    np.array([2.0, 2, 0, 0, 0, 0]),
  )
  result = eom_result(outcomes, samples, None, 1.0)
  np.testing.assert_allclose(result[:2], (2.5, 1.0), rtol=1e-9)
  np.testing.assert_allclose(result.price, 2.0, rtol=1e-9)


@pytest.mark.parametrize(
  ("propensity", "estimator", "treat_all", "treat_none"),
  [
    (None, "ipw", 10.0, 10.0),
    (None, "snipw", 10.0, 10.0),
    ((0.5, 0.5), "ipw", 8.0, 12.0),
    ((0.5, 0.5), "snipw", 10.0, 10.0),
  ],
)
def test_fc_09_counted_declared_and_self_normalised(
  propensity, estimator, treat_all, treat_none
):
  arm = np.repeat([0, 1], [60, 40]).astype(np.int32)
  ten = np.full(100, 10.0, np.float32)
  samples = Samples(np.zeros((100, 1), np.float32), arm, ten, ten)
  flat = np.zeros((100, 2), np.float32)
  for wish, expected in (([0, 1], treat_all), ([1, 0], treat_none)):
    outcomes = Outcomes(flat + np.float32(wish), flat)
    result = eom_result(
      outcomes, samples, propensity, 100.0, estimator=estimator
    )
    np.testing.assert_allclose(result[:2], (expected, expected), rtol=1e-9)
    assert result.not_binding and result.price == 0


def adversaries(outcomes, rng):
  r, c = outcomes.revenue, outcomes.cost
  yield "useless costs", Outcomes(r, np.zeros_like(c))
  yield "constant costs", Outcomes(r, np.ones_like(c))
  yield "huge costs", Outcomes(r, c * np.float32(1e12))
  yield "tiny costs", Outcomes(r, c * np.float32(1e-12))
  yield "negative costs", Outcomes(r, -c)
  yield "reversed costs", Outcomes(r, c[:, ::-1].copy())
  yield "constant", Outcomes(np.ones_like(r), np.ones_like(c))
  yield "noise", Outcomes(*rng.normal(size=(2, *r.shape)).astype(np.float32))


def test_no_prediction_is_credited_with_more_than_the_budget():
  outcomes, samples, rng = trial(0, n=300)
  for name, bad in adversaries(outcomes, rng):
    for exact in (True, False):
      result = eom_result(bad, samples, None, 0.4, exact=exact)
      assert result.cost <= 0.4, name
      assert np.isfinite(result.revenue), name
  useless = eom_result(
    Outcomes(outcomes.revenue, 0 * outcomes.cost), samples, None, 0.4
  )
  # Everyone gets arm 2, or control: revenue is on the line between them.
  assert useless.mixed_with_control and not useless.infeasible
  mean = [
    [y[samples.arm == j].mean(dtype=np.float64) for j in (0, 2)]
    for y in (samples.revenue, samples.cost)
  ]
  share = (0.4 - mean[1][0]) / (mean[1][1] - mean[1][0])
  np.testing.assert_allclose(useless.mix, share, rtol=1e-9)
  np.testing.assert_allclose(
    useless.revenue, mean[0][0] + share * (mean[0][1] - mean[0][0]), rtol=1e-9
  )


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
  st.integers(0, 2**31),
  st.integers(0, 7),
  st.floats(0, 2),
  st.sampled_from(["ipw", "snipw"]),
  st.booleans(),
)
def test_nothing_beats_the_best_policy_in_hindsight(
  seed, which, budget, estimator, exact
):
  outcomes, samples, rng = trial(seed)
  name, bad = list(adversaries(outcomes, rng))[which]
  result = eom_result(
    bad, samples, None, budget, estimator=estimator, exact=exact
  )
  assert result.cost <= budget, name
  assert np.isfinite(result.revenue), name
  if estimator == "ipw":
    # Each row's estimated outcomes as if they were known: the best allocation
    # of them within the budget bounds the estimate of any policy.
    share = np.bincount(samples.arm) / len(samples)
    received = np.eye(3)[samples.arm] / share
    revenue, cost = (
      received * y.astype(np.float64)[:, None]
      for y in (samples.revenue, samples.cost)
    )
    best = reference.lp_optimum(revenue, cost, budget * len(samples))
    assert result.revenue <= best / len(samples) * (1 + 1e-7) + 1e-9, name


def test_infeasible_says_so():
  outcomes, samples, _ = trial(0)
  samples = samples.replace(cost=samples.cost + np.float32(1))
  result = eom_result(outcomes, samples, None, 0.5)
  assert result.infeasible and not result.mixed_with_control
  assert np.isnan(result.revenue) and result.cost == pytest.approx(1.0)
  assert np.isnan(eom(outcomes, samples, None, 0.5))


def test_padding_and_order_of_rows_are_immaterial():
  outcomes, samples, rng = trial(3)
  first = eom_result(outcomes, samples, None, 0.6)
  p = rng.permutation(len(samples))
  shuffled = eom_result(
    *jax.tree.map(lambda y: y[p], (outcomes, samples)), None, 0.6
  )
  np.testing.assert_allclose(shuffled, first, rtol=1e-9)
  more = jax.tree.map(
    lambda y: np.concatenate([y, 1000 * y[:7]]), (outcomes, samples)
  )
  padded = more[1].replace(
    arm=np.append(samples.arm, samples.arm[:7]),
    weight=np.append(samples.weight, np.zeros(7, np.float32)),
  )
  again = eom_result(more[0], padded, None, 0.6)
  np.testing.assert_allclose(again, first, rtol=1e-9)


def test_value_is_summed_in_float64_and_leaves_the_switch_alone():
  n = 30_000
  arm = (np.arange(n) % 2).astype(np.int32)
  revenue = (1 + arm * 1e-3 * np.sin(np.arange(n))).astype(np.float32)
  samples = Samples(np.zeros((n, 1), np.float32), arm, revenue, 0 * revenue)
  outcomes = Outcomes(
    np.tile(np.float32([0, 1]), (n, 1)), np.zeros((n, 2), np.float32)
  )
  before = jax.config.jax_enable_x64
  got = eom(outcomes, samples, None, 1.0)
  assert jax.config.jax_enable_x64 == before
  exact = revenue[arm == 1].astype(np.float64).mean()
  np.testing.assert_allclose(got, exact, rtol=1e-13)


def test_core_is_pure_and_traced_once_for_all_budgets_and_weights():
  outcomes, samples, _ = trial(1)
  share = np.full(3, 1 / 3, np.float32)
  traces = []

  @jax.jit
  def value(budget, weight):
    traces.append(1)
    rows = samples.replace(weight=weight)
    return eom_core(outcomes, rows, share, budget).revenue

  ones = np.ones(len(samples), np.float32)
  for budget in (0.3, 0.6, 0.9):
    expected = eom(outcomes, samples, (1 / 3,) * 3, budget)
    got = value(np.float32(budget), ones)
    np.testing.assert_allclose(got, expected, rtol=1e-3)
  assert len(traces) == 1
  weights = jnp.asarray(np.stack([ones, 2 * ones]))
  many = jax.vmap(value, (None, 0))(jnp.float32(0.6), weights)
  np.testing.assert_allclose(many[0], many[1], rtol=1e-6)


def test_core_maps_over_predictions():
  outcomes, samples, rng = trial(2)
  share = np.full(3, 1 / 3, np.float32)
  stretch = np.array([1, 2, 0.5], np.float32)[:, None, None]
  seeds = Outcomes(
    outcomes.revenue * rng.uniform(0.5, 2, (3, 80, 3)).astype(np.float32),
    outcomes.cost * stretch,
  )
  many = jax.jit(jax.vmap(eom_core, (0, None, None, None)))(
    seeds, samples, share, np.float32(0.6)
  )
  for k in range(3):
    one = eom_result(
      jax.tree.map(lambda y, k=k: y[k], seeds), samples, (1 / 3,) * 3, 0.6
    )
    np.testing.assert_allclose(many.revenue[k], one.revenue, rtol=1e-3)
    np.testing.assert_allclose(many.cost[k], one.cost, rtol=1e-5)


def test_fc_10_no_room_of_the_package_moves_the_64_bit_switch():
  code = """
import importlib, pkgutil
import jax
before = jax.config.jax_enable_x64
import bidfcl_jax
names = [
  found.name
  for found in pkgutil.walk_packages(bidfcl_jax.__path__, "bidfcl_jax.")
]
for name in names:
  importlib.import_module(name)
  assert jax.config.jax_enable_x64 == before, name
rooms = {name.split(".")[1] for name in names}
assert rooms >= {"bilevel", "methods", "models", "training", "report", "data"}
assert rooms >= {"losses", "allocation", "evaluation"}
"""
  subprocess.run([sys.executable, "-c", code], check=True)


def test_misuse_is_refused():
  outcomes, samples, _ = trial(0)
  bad = np.array(outcomes.cost)
  bad[7, 2] = np.nan
  with pytest.raises(ValueError, match="cost of row 7, arm 2 is nan"):
    eom(Outcomes(outcomes.revenue, bad), samples, None, 0.5)
  with pytest.raises(ValueError, match="n = 80 individuals"):
    eom(jax.tree.map(lambda y: y[:9], outcomes), samples, None, 0.5)
  with pytest.raises(ValueError, match="'ips' is not one of"):
    eom(outcomes, samples, None, 0.5, estimator="ips")
  with pytest.raises(ValueError, match="'dr' with its nuisance missing"):
    eom(outcomes, samples, None, 0.5, estimator="dr")
  with pytest.raises(ValueError, match="'ipw' with its nuisance given"):
    eom(outcomes, samples, None, 0.5, nuisance=outcomes)
  with pytest.raises(ValueError, match="budget is nan"):
    eom(outcomes, samples, None, np.nan)
  with pytest.raises(ValueError, match="add up to 0.9"):
    eom(outcomes, samples, (0.3, 0.3, 0.3), 0.5)
  with pytest.raises(ValueError, match="run from 0 to 2, but 2 shares"):
    pair = jax.tree.map(lambda y: y[:, :2], outcomes)
    eom(pair, samples, (0.5, 0.5), 0.5)
  with pytest.raises(ValueError, match="no randomised row of arm 2"):
    weight = (samples.arm < 2).astype(np.float32)
    eom(outcomes, samples.replace(weight=weight), None, 0.5)
