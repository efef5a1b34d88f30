import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.methods import pricing, temperature
from bidfcl_jax.types import Outcomes, Samples

N = 400


@pytest.fixture(scope="module")
def problem():
  """Returns (outcomes, rows, propensity) where arm 1 earns x and costs 1."""
  rng = np.random.default_rng(0)
  gain = rng.uniform(0.5, 2.0, N).astype(np.float32)
  arm = rng.integers(0, 2, N)
  outcomes = Outcomes(
    jnp.stack([jnp.zeros(N), gain], axis=1),
    jnp.stack([jnp.zeros(N), jnp.ones(N)], axis=1),
  )
  rows = Samples(
    jnp.zeros((N, 1)),
    jnp.asarray(arm),
    jnp.asarray(gain * arm),
    jnp.asarray(arm, jnp.float32),
  )
  return outcomes, rows, jnp.array([0.5, 0.5])


def terms(problem, budget, memory=None, **options):
  config = DecisionConfig(**options)
  memory = pricing.empty_pricing() if memory is None else memory
  outcomes, rows, propensity = problem
  evidence = pricing.Evidence(rows, propensity)
  return jax.jit(
    lambda o, b, m: pricing.decision_terms(o, evidence, b, m, config)
  )(outcomes, jnp.asarray(budget), memory)


def test_the_price_spends_the_budget_by_ipw(problem):
  outcomes, rows, _ = problem
  found, _, _ = terms(problem, 0.5, price_clip=0.0)
  treated = np.asarray(outcomes.revenue[:, 1]) > float(found.price)
  spend = 2 * np.mean(treated * np.asarray(rows.arm))
  assert 0.5 - 3 * 2 / N <= spend <= 0.5 + 1e-6


def test_the_price_stays_within_the_reference(problem):
  memory = pricing.empty_pricing().replace(
    bounds=pricing.reference_bounds(jnp.asarray(0.1), DecisionConfig())
  )
  np.testing.assert_allclose(memory.bounds, [0.025, 0.4])
  found, _, metrics = terms(problem, 0.3, memory)
  assert 0.025 <= found.price <= 0.4 + 1e-6
  assert metrics["price_clipped"] == 1
  free, _, metrics = terms(problem, 0.3, memory, price_clip=0.0)
  assert free.price > 0.4
  assert metrics["price_clipped"] == 0
  none = pricing.reference_bounds(
    jnp.asarray(0.1), DecisionConfig(price_clip=0.0)
  )
  np.testing.assert_array_equal(none, [0, np.inf])


def test_reward_price_of_the_three_gradients(problem):
  frozen, _, _ = terms(problem, 0.5, price_clip=0.0, price_gradient="frozen")
  dual, _, _ = terms(problem, 0.5, price_clip=0.0, price_gradient="dual")
  total, kept, _ = terms(problem, 0.5, price_clip=0.0, price_gradient="total")
  assert frozen.reward_price == 0
  assert dual.reward_price == dual.price
  # The first value of mu is taken whole, the next one decays it.
  assert total.reward_price == kept.mu
  assert kept.mu_seen
  old = kept.replace(mu=kept.mu + 10.0)
  after, _, _ = terms(problem, 0.5, old, price_clip=0.0, mu_decay=0.9)
  assert float(after.reward_price) == pytest.approx(
    0.9 * (float(kept.mu) + 10) + 0.1 * float(kept.mu), rel=1e-5
  )


def test_temperatures_by_hand():
  scores = jnp.array([[0.0, 1.0], [0.0, 3.0], [0.0, 5.0], [0.0, 99.0]])
  weight = jnp.array([1.0, 1.0, 1.0, 0.0])
  assert temperature.median_gap(scores, weight) == 3
  # Row variances 1/4, 9/4, 25/4.
  spread = float(temperature.score_spread(scores, weight))
  assert spread == pytest.approx(np.sqrt(35 / 12))


def test_each_kind_of_temperature(problem):
  outcomes, rows, _ = problem
  zero = jnp.zeros(())

  def kept(kind, value):
    config = DecisionConfig(temperature=(kind, value))
    return float(temperature.frozen_temperature(outcomes, rows, zero, config))

  gap = float(np.median(outcomes.revenue[:, 1]))
  assert kept("absolute", 7.0) == 7
  assert kept("gap", 2.0) == pytest.approx(2 * gap, rel=1e-5)
  assert kept("spread", 2.0) == 0
  memory = pricing.empty_pricing().replace(temperature=jnp.asarray(7.0))
  found, _, _ = terms(problem, 0.5, memory, temperature=("absolute", 7.0))
  assert found.temperature == 7


def test_equal_scores_keep_the_temperature_above_zero(problem):
  outcomes, rows, propensity = problem
  flat = jax.tree.map(jnp.zeros_like, outcomes)
  found, _, _ = terms((flat, rows, propensity), 0.5)
  assert found.temperature > 0
  assert np.isfinite(found.reward_price)


def test_rows_of_one_decision_loss(problem):
  _, rows, propensity = problem
  evidence = pricing.Evidence(rows, propensity)
  assert pricing.rows_at_upper_level(DecisionConfig(rows=0), 20_000) == 10_000
  assert pricing.rows_at_upper_level(DecisionConfig(rows=50), N) == 50
  assert pricing.rows_at_upper_level(DecisionConfig(rows=50), 20) == 20
  assert pricing.draw_rows(jax.random.key(0), evidence, N) is evidence
  few = pricing.draw_rows(jax.random.key(0), evidence, 50).samples
  other = pricing.draw_rows(jax.random.key(1), evidence, 50).samples
  assert len(few) == 50
  assert not np.array_equal(few.group, other.group)
  np.testing.assert_array_equal(few.revenue, rows.revenue[few.group])


def test_a_budget_that_did_not_bind_leaves_the_price_free_above():
  config = DecisionConfig(price_clip=4.0)
  bounds = pricing.reference_bounds(jnp.zeros(()), config)
  np.testing.assert_array_equal(bounds, [0.0, np.inf])
  bounds = pricing.reference_bounds(jnp.asarray(2.0), config)
  np.testing.assert_array_equal(bounds, [0.5, 8.0])


def test_only_a_price_at_a_real_bound_counts_as_clipped(problem):
  config = DecisionConfig(price_clip=4.0)
  seen = []
  for bounds in ([0.0, np.inf], [1e-6, 1e6], [5.0, 6.0], [1e-3, 2e-3]):
    state = pricing.empty_pricing().replace(bounds=jnp.array(bounds))
    outcomes, rows, propensity = problem
    *_, metrics = pricing.decision_terms(
      outcomes,
      pricing.Evidence(rows, propensity),
      jnp.asarray(0.3),
      state,
      config,
    )
    seen.append(float(metrics["price_clipped"]))
  assert seen == [0.0, 0.0, 1.0, 1.0]
