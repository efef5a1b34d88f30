"""The decision loss of a method, against its parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import losses
from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.methods import objective, pricing
from bidfcl_jax.methods.pricing import Evidence, Terms
from bidfcl_jax.types import Outcomes, Samples

N, M = 200, 3


@pytest.fixture(scope="module")
def problem():
  """Returns (outcomes, evidence with labels)."""
  rng = np.random.default_rng(0)
  lift = np.linspace(0, 1, M)

  def cells():
    revenue = 1 + lift * rng.uniform(0.5, 2, (N, 1))
    revenue += rng.normal(0, 0.1, (N, M))
    cost = lift * rng.uniform(0.5, 1, (N, 1))
    return Outcomes(jnp.asarray(revenue), jnp.asarray(cost))

  arm = rng.integers(0, M, N)
  rows = Samples(
    jnp.zeros((N, 1)),
    jnp.asarray(arm, jnp.int32),
    jnp.asarray(rng.gamma(2.0, 1.0, N)),
    jnp.asarray(lift[arm] * rng.uniform(0.5, 1, N)),
  )
  return cells(), Evidence(rows, jnp.full(M, 1 / M), cells())


TERMS = Terms(jnp.asarray(0.4), jnp.asarray(0.3), jnp.asarray(0.7))


@pytest.mark.parametrize("estimator", ["ipw", "snipw", "dr"])
def test_the_policy_loss_is_the_negative_value_of_the_soft_policy(
  problem, estimator
):
  outcomes, evidence = problem
  config = DecisionConfig(outcomes=estimator)
  loss = objective.surrogate_loss(outcomes, evidence, TERMS, config, "policy")
  policy = losses.soft_policy(outcomes.score(0.4), 0.3)
  revenue, cost = losses.policy_value(
    policy,
    evidence.samples,
    evidence.propensity,
    estimator=estimator,
    nuisance=evidence.labels,
  )
  assert loss == pytest.approx(-(float(revenue) - 0.7 * float(cost)), rel=1e-5)


def test_plugin_reads_labels_and_no_outcome(problem):
  outcomes, evidence = problem
  config = DecisionConfig(outcomes="plugin")
  wild = evidence._replace(
    samples=evidence.samples.replace(
      revenue=jnp.full(N, jnp.nan), cost=jnp.full(N, jnp.nan)
    )
  )
  one, other = (
    objective.surrogate_loss(outcomes, rows, TERMS, config, "policy")
    for rows in (evidence, wild)
  )
  assert one == other
  policy = losses.soft_policy(outcomes.score(0.4), 0.3)
  reward = evidence.labels.score(0.7)
  assert one == pytest.approx(-float(jnp.mean(jnp.sum(policy * reward, 1))))


def test_rows_on_labels_make_a_doubly_robust_value_the_plug_in_one(problem):
  outcomes, evidence = problem
  policy = losses.soft_policy(outcomes.score(0.4), 0.3)
  rows = pricing.on_labels(evidence)
  value, _ = losses.policy_value(
    policy,
    rows.samples,
    evidence.propensity,
    estimator="dr",
    nuisance=evidence.labels,
  )
  assert value == pytest.approx(
    float(jnp.mean(jnp.sum(policy * evidence.labels.revenue, 1))), rel=1e-5
  )


def test_several_budgets_are_averaged_and_priced_apart(problem):
  outcomes, evidence = problem
  config = DecisionConfig(price_clip=0.0, budgets=(0.5, 1.0))
  budgets = jnp.array([0.1, 0.2])
  terms, memory, metrics = objective.terms_at_budgets(
    outcomes, evidence, budgets, pricing.empty_pricing(2), config
  )
  assert terms.price[0] > terms.price[1]
  assert memory.mu.shape == (2,)
  assert metrics["price"] == pytest.approx(float(jnp.mean(terms.price)))
  both = objective.mean_surrogate(outcomes, evidence, terms, config, "policy")
  alone = [
    objective.surrogate_loss(
      outcomes, evidence, jax.tree.map(lambda x, k=k: x[k], terms), config,
      "policy",
    )
    for k in range(2)
  ]  # fmt: skip
  assert both == pytest.approx(float(np.mean(alone)), rel=1e-5)


def test_lambda_answers_for_another_population(problem):
  outcomes, evidence = problem
  config = DecisionConfig(price_clip=0.0, price_population="obs")
  # A population that costs twice as much needs a higher price.
  dear = Outcomes(evidence.labels.revenue, 2 * evidence.labels.cost)
  prices = []
  for labels in (evidence.labels, dear):
    rows = pricing.on_labels(evidence._replace(labels=labels))
    terms, *_ = pricing.decision_terms(
      outcomes,
      evidence,
      jnp.asarray(0.2),
      pricing.empty_pricing(),
      config,
      priced_on=(outcomes, rows),
    )
    prices.append(float(terms.price))
    best = np.argmax(np.asarray(outcomes.score(terms.price)), axis=1)
    spend = np.asarray(labels.cost)[np.arange(N), best].mean()
    assert spend <= 0.2 + 1e-6
  assert prices[1] > prices[0]


def test_the_soft_price_spends_the_budget_softly(problem):
  outcomes, evidence = problem
  config = DecisionConfig(
    price_clip=0.0, price_of="soft", temperature=("absolute", 0.3)
  )
  memory = pricing.empty_pricing().replace(temperature=jnp.asarray(0.3))
  terms, *_ = pricing.decision_terms(
    outcomes, evidence, jnp.asarray(0.2), memory, config
  )
  policy = losses.soft_policy(outcomes.score(terms.price), 0.3)
  _, cost = losses.policy_value(policy, evidence.samples, evidence.propensity)
  assert cost == pytest.approx(0.2, rel=1e-3)


def test_plugin_marginal_price_is_the_slope_along_the_price(problem):
  outcomes, evidence = problem
  labels, weight = evidence.labels, evidence.samples.weight

  def value(price):
    policy = losses.soft_policy(outcomes.score(price), 0.3)
    return (
      jnp.mean(jnp.sum(policy * labels.revenue, 1)),
      jnp.mean(jnp.sum(policy * labels.cost, 1)),
    )

  revenue, cost = jax.jacobian(value)(0.4)
  mu = losses.plugin_marginal_price(
    outcomes, labels, weight, price=0.4, temperature=0.3
  )
  assert mu == pytest.approx(float(revenue / cost), rel=1e-3)


def test_finite_differences_of_a_model_are_refused():
  config = dataclasses.replace(DecisionConfig(), outcomes="dr")
  with pytest.raises(ValueError, match="PIFD and DIFD take ipw"):
    objective.check_surrogate(config, "finite_difference")


def test_dual_terms_reward_net_of_their_own_price(problem):
  outcomes, evidence = problem
  prices = jnp.array([0.2, 0.6])
  terms = objective.dual_terms(
    outcomes,
    evidence.samples.weight,
    prices,
    jnp.zeros(2),
    DecisionConfig(),
  )
  np.testing.assert_array_equal(terms.reward_price, prices)
  mean = objective.mean_surrogate(
    outcomes, evidence, terms, DecisionConfig(), "policy"
  )
  alone = [
    losses.dpl(
      outcomes,
      evidence.samples,
      evidence.propensity,
      price=prices[k],
      temperature=terms.temperature[k],
    )
    for k in range(2)
  ]
  assert mean == pytest.approx(float(np.mean(alone)), rel=1e-5)
