import jax
import numpy as np
import pytest

from bidfcl_jax.config import SimulatorConfig
from bidfcl_jax.data import simulator
from bidfcl_jax.data import world as worlds

KINDS = ("S1", "S2", "S3")


def make(kind="S1", seed=0, **options):
  config = SimulatorConfig(kind=kind, **options)
  return worlds.make_world(jax.random.key(seed), config)


def people_of(world, n, seed=3):
  rng = np.random.default_rng(seed)
  latent = worlds.draw_latent(rng, n, world.config.features)
  return worlds.individuals(world, latent)


def one_person(people, i, copies):
  return worlds.Individuals(
    *(np.repeat(v[i : i + 1], copies, 0) for v in people)
  )


def test_latent_law_and_visible_features():
  latent = worlds.draw_latent(np.random.default_rng(0), 200_000, 14)
  want = 0.5 ** np.abs(np.subtract.outer(np.arange(11), np.arange(11)))
  np.testing.assert_allclose(np.cov(latent[:, :11].T), want, atol=0.02)
  assert set(np.unique(latent[:, 11:])) == {-0.3085, 1 - 0.3085}
  np.testing.assert_allclose(latent[:, 11:].mean(0), 0, atol=0.005)
  x = worlds.visible_features(latent)
  np.testing.assert_array_equal(x[:, :5], latent[:, :5])
  np.testing.assert_array_equal(x[:, 11:], latent[:, 11:])
  heavy = np.minimum(np.exp(latent[:, 5:11]), 20)
  np.testing.assert_allclose(x[:, 5:11], (heavy - 1.6487) / 2.161)
  assert (x[:, 5:11].max(0) > 5).all()


@pytest.mark.parametrize("d", [12, 24, 192])
def test_functions_are_standardised_and_use_any_entry(d):
  world = make(features=d)
  latent = worlds.draw_latent(np.random.default_rng(1), 20_000, d)
  for function in world.functions.values():
    assert np.all(function.entries[:, 0] != function.entries[:, 1])
    assert abs(function(latent).mean()) < 0.05
    assert function(latent).std() == pytest.approx(1, abs=0.05)
  used = np.concatenate([f.entries.ravel() for f in world.functions.values()])
  assert used.max() > d / 2 and used.max() < d


@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_outcomes_equal_the_mean_of_sampled_ones(kind):
  world, n = make(kind), 400_000
  people = people_of(world, 3)
  truth = worlds.expected_outcomes(world, people)
  arms = len(world.kind.levels)
  rng = np.random.default_rng(5)
  for i, arm in ((0, 0), (1, arms - 1), (2, 1)):
    copies = one_person(people, i, n)
    u = rng.standard_normal(n)
    received = np.full(n, arm)
    r, c = simulator._draw_outcomes(rng, world, copies, u, received)
    assert abs(r.mean() - truth.revenue[i, arm]) < 4 * r.std() / n**0.5
    assert abs(c.mean() - truth.cost[i, arm]) <= 4 * c.std() / n**0.5
  assert np.all(truth.cost[:, 0] == 0)
  assert np.all(np.diff(truth.revenue, axis=1) >= 0)


@pytest.mark.parametrize("confounding", ["segment", "signed"])
def test_logging_propensities_equal_frequencies(confounding):
  world, n = make(confounding=confounding), 200_000
  copies = one_person(people_of(world, 1), 0, n)
  e = worlds.logging_policy(world, copies, np.full(n, 0.7))
  arm = simulator._draw_arm(np.random.default_rng(0), e)
  share = np.bincount(arm, minlength=5) / n
  se = np.sqrt(e[0] * (1 - e[0]) / n)
  assert np.all(np.abs(share - e[0]) < 4 * se)


@pytest.mark.parametrize("kind", KINDS)
def test_logging_propensities_are_distributions_above_the_floor(kind):
  world = make(kind, overlap=0.2)
  u = np.random.default_rng(0).standard_normal(5000)
  e = worlds.logging_policy(world, people_of(world, 5000), u)
  np.testing.assert_allclose(e.sum(1), 1, atol=1e-12)
  assert e.min() >= 0.2 / e.shape[1]


def test_u_pushes_to_dear_arms_by_the_strength_of_each_form():
  people = people_of(make(gamma=3.0), 4000)
  assert people.confounding.min() > 0 and people.confounding.max() < 3
  signed = people_of(make(gamma=2.0, confounding="signed"), 4000).confounding
  assert signed.min() < 0 < signed.mean() == pytest.approx(1, abs=0.15)
  world = make(overlap=0.0)
  log_e = [
    np.log(worlds.logging_policy(world, people, np.full(4000, u)))
    for u in (-1.0, 1.0)
  ]
  # log e_M - log e_1 moves by gamma(x) (h_M - h_1) u = 2 gamma(x) u.
  moved = (log_e[1] - log_e[0])[:, -1] - (log_e[1] - log_e[0])[:, 0]
  np.testing.assert_allclose(moved, 4 * people.confounding, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_old_policy_scales_hold_on_fresh_people(kind):
  world = make(kind)
  people = people_of(world, 20_000)
  gain, cost = worlds._believed(world, people)
  middle = len(world.kind.levels) // 2
  slopes = gain[:, middle] / cost[:, middle]
  assert np.median(slopes) == pytest.approx(world.old_price, rel=0.1)
  q = worlds._preference(world, people) / world.old_scale
  assert np.sqrt(np.mean(q**2)) == pytest.approx(1, abs=0.1)


def test_relative_bias_of_logged_means_is_that_of_the_specification():
  nodes, weights = np.polynomial.hermite_e.hermegauss(31)
  bias = []
  for seed in range(6):
    world = make(seed=seed)
    people = people_of(world, 5000)
    earned, logged = 0.0, 0.0
    for node, weight in zip(nodes, weights, strict=True):
      u = np.full(5000, node)
      e = weight * worlds.logging_policy(world, people, u)
      earned = earned + e * worlds.revenue_given_u(world, people, u)
      logged = logged + e
    truth = worlds.expected_outcomes(world, people).revenue
    bias.append((earned / logged / truth - 1).mean(0))
  want = [-0.34, -0.17, 0.01, 0.20, 0.45]
  np.testing.assert_allclose(np.mean(bias, 0), want, atol=0.06)
