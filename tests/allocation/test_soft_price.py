import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.allocation import soft_price_for_budget
from bidfcl_jax.losses import policy_value, soft_policy
from bidfcl_jax.types import Outcomes, Samples

N, TAU = 3000, 0.3


@pytest.fixture(scope="module")
def problem():
  """Returns (outcomes, randomised rows, propensity) of three arms."""
  rng = np.random.default_rng(0)
  lift = np.linspace(0, 1, 3)
  gain = lift * rng.uniform(0.5, 2.0, (N, 1))
  arm = rng.integers(0, 3, N)
  outcomes = Outcomes(
    jnp.asarray(gain, jnp.float32),
    jnp.asarray(lift * np.ones((N, 1)), jnp.float32),
  )
  rows = Samples(
    jnp.zeros((N, 1)),
    jnp.asarray(arm),
    jnp.asarray(gain[np.arange(N), arm], jnp.float32),
    jnp.asarray(lift[arm], jnp.float32),
  )
  return outcomes, rows, jnp.full(3, 1 / 3)


def spend(problem, price):
  outcomes, rows, propensity = problem
  policy = soft_policy(outcomes.score(price), TAU)
  return float(policy_value(policy, rows, propensity)[1])


def solve(problem, budget, **options):
  outcomes, rows, propensity = problem
  return float(
    soft_price_for_budget(
      outcomes,
      budget,
      temperature=TAU,
      samples=rows,
      propensity=propensity,
      **options,
    )
  )


@pytest.mark.parametrize("budget", [0.2, 0.5])
def test_the_soft_policy_spends_the_budget(problem, budget):
  price = solve(problem, budget)
  assert price > 0
  assert spend(problem, price) == pytest.approx(budget, rel=1e-4)


def test_a_budget_that_does_not_bind_costs_nothing(problem):
  assert solve(problem, spend(problem, 0.0) + 0.1) == 0


def test_the_price_stays_within_its_bounds(problem):
  free = solve(problem, 0.4)
  assert solve(problem, 0.4, bounds=(0.5 * free, 2 * free)) == pytest.approx(
    free, rel=1e-4
  )
  high = solve(problem, 0.4, bounds=(2 * free, jnp.inf))
  assert high == pytest.approx(2 * free, rel=1e-5)
  low = solve(problem, 0.4, bounds=(0.0, 0.5 * free))
  assert low == pytest.approx(0.5 * free, rel=1e-5)


def test_one_trace_serves_all_budgets(problem):
  outcomes, rows, propensity = problem
  traces = []

  @jax.jit
  def solved(budget):
    traces.append(1)
    return soft_price_for_budget(
      outcomes, budget, temperature=TAU, samples=rows, propensity=propensity
    )

  prices = [float(solved(jnp.asarray(b))) for b in (0.1, 0.3, 0.5)]
  assert len(traces) == 1
  assert prices == sorted(prices, reverse=True)
