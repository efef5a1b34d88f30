import dataclasses
import functools

import jax
import numpy as np
import pytest

from bidfcl_jax import keys
from bidfcl_jax.config import SimulatorConfig
from bidfcl_jax.data import simulator
from bidfcl_jax.data import world as worlds
from bidfcl_jax.data.simulator import simulate

SMALL = SimulatorConfig(
  n_obs=3000, n_rct=1000, n_valid=400, n_test=500, features=12
)


def sized(**changes):
  return dataclasses.replace(SMALL, **changes)


@functools.cache
def mean_moments(kind):
  """Returns moments of six worlds: mean R, b, zeros, cv of r, OBS shares."""
  moments = []
  for seed in range(6):
    config = SimulatorConfig(kind=kind, n_obs=20_000)
    study = simulate(jax.random.key(seed), config)
    r = study.rct_test.revenue.astype(float)
    moments.append([
      study.truth.outcomes.revenue.mean(0),
      float(study.budget),
      (r == 0).mean(),
      r.std() / r.mean(),
      np.bincount(study.obs.arm) / len(study.obs),
    ])  # fmt: skip
  return [np.mean(values, axis=0) for values in zip(*moments, strict=True)]


def test_moments_of_s1_are_those_of_the_specification():
  revenue, budget, zeros, cv, shares = mean_moments("S1")
  # Worlds differ by .5 in R (sd), the mean of six by .2.
  want = [11.1, 14.8, 17.3, 18.8, 19.6]
  np.testing.assert_allclose(revenue, want, atol=0.8)
  assert budget == pytest.approx(1.56, abs=0.07)
  assert zeros == pytest.approx(0.54, abs=0.015)
  assert cv == pytest.approx(1.33, abs=0.05)
  np.testing.assert_allclose(
    shares, [0.295, 0.215, 0.185, 0.15, 0.16], atol=0.03
  )


def test_moments_of_s2_are_those_of_the_specification():
  revenue, budget, _, cv, _ = mean_moments("S2")
  want = [0.30, 0.35, 0.40, 0.44, 0.47, 0.49, 0.51, 0.52]
  np.testing.assert_allclose(revenue, want, atol=0.02)
  assert budget == pytest.approx(1.19, abs=0.04)
  assert cv == pytest.approx(1.14, abs=0.04)


def test_control_earns_a_smaller_share_in_s3():
  share = {
    kind: mean_moments(kind)[0][0] / mean_moments(kind)[0][2]
    for kind in ("S1", "S3")
  }
  assert share["S1"] == pytest.approx(0.60, abs=0.04)
  assert share["S3"] == pytest.approx(0.42, abs=0.04)


def logged_error(config, seed):
  """Returns z values of mean(r - R_t(x)) by arm on logged rows."""
  world = worlds.make_world(jax.random.key(seed), config)
  rows, truth = simulator.draw_part(
    world, jax.random.key(seed + 100), 40_000, logged=True, with_outcomes=True
  )
  z = []
  for arm in range(5):
    got = rows.arm == arm
    error = rows.revenue[got] - truth.outcomes.revenue[got, arm]
    z.append(error.mean() / (error.std() / np.sqrt(got.sum())))
  return np.array(z)


@pytest.mark.parametrize("unbiased", [{"gamma": 0.0}, {"kappa": 0.0}])
def test_no_hidden_push_or_no_hidden_effect_means_no_bias(unbiased):
  for seed in range(2):
    z = logged_error(SimulatorConfig(features=12, **unbiased), seed)
    assert np.abs(z).max() < 4


def test_hidden_confounding_flatters_dear_arms_and_slanders_cheap_ones():
  for confounding in ("segment", "signed"):
    z = logged_error(SimulatorConfig(confounding=confounding), 0)
    assert z[0] < -4 and z[-1] > 10 and z[1] < z[3]


def test_rct_arms_are_uniform_and_shares_are_counted():
  study = simulate(jax.random.key(0), sized(n_rct=20_000))
  counts = np.bincount(study.rct_train.arm, minlength=5)
  assert np.abs(counts - 4000).max() < 4 * np.sqrt(20_000 * 0.2 * 0.8)
  np.testing.assert_allclose(study.propensity, counts / 20_000)


def test_same_key_same_people_other_key_other_world():
  one, two = (simulate(jax.random.key(7), SMALL) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, one, two)
  other = simulate(jax.random.key(8), SMALL)
  assert not np.array_equal(one.obs.features, other.obs.features)
  functions = [
    worlds.make_world(jax.random.key(s), SMALL).functions["base"].amplitude
    for s in (7, 8)
  ]
  assert not np.array_equal(*functions)


def test_no_one_is_in_two_parts():
  study = simulate(jax.random.key(7), SMALL)
  parts = (study.obs, study.rct_train, study.rct_valid, study.rct_test)
  firsts = np.concatenate([part.features[:, 0] for part in parts])
  assert len(np.unique(firsts)) == len(firsts)


def test_parts_do_not_change_each_other_or_the_world():
  one = simulate(jax.random.key(7), SMALL)
  two = simulate(jax.random.key(7), sized(n_obs=5000, n_rct=100))
  np.testing.assert_array_equal(one.rct_test.revenue, two.rct_test.revenue)
  jax.tree.map(
    np.testing.assert_array_equal, one.truth.outcomes, two.truth.outcomes
  )
  assert one.budget == two.budget


def test_truth_is_kept_and_budget_is_the_tests_mean_cost():
  for kind, arm, arms in (("S1", 2, 5), ("S2", 3, 8), ("S3", 2, 5)):
    study = simulate(jax.random.key(1), sized(kind=kind))
    truth = study.truth
    assert truth.outcomes.revenue.shape == (500, arms)
    assert truth.logging.shape == (3000, arms)
    assert float(study.budget) == pytest.approx(
      truth.outcomes.cost[:, arm].mean()
    )
    assert study.arms == arms == len(study.arm_names)
    assert study.arm_names[0] == "none"
    assert study.for_learners().truth is None


def test_truth_fits_the_observed_test_rows_and_logs():
  study = simulate(jax.random.key(2), sized(n_test=40_000, n_obs=40_000))
  test, truth = study.rct_test, study.truth
  expected = truth.outcomes.revenue[np.arange(len(test)), test.arm]
  error = test.revenue - expected
  assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(test))
  # The truth follows x, not only the arm: the fit's slope on it is 1.
  slope = np.cov(expected, test.revenue)[0, 1] / expected.var()
  assert slope == pytest.approx(1, abs=0.06)
  inverse = 1 / truth.logging[np.arange(len(study.obs)), study.obs.arm]
  weights = inverse / inverse.sum()
  shares = np.bincount(study.obs.arm, weights)
  np.testing.assert_allclose(shares, 0.2, atol=0.03)
  freq = np.bincount(study.obs.arm) / len(study.obs)
  np.testing.assert_allclose(truth.logging.mean(0), freq, atol=0.01)


def test_chunks_leave_no_seam(monkeypatch):
  world = worlds.make_world(jax.random.key(0), SMALL)
  monkeypatch.setattr(simulator, "_CHUNK", 300)
  rows, truth = simulator.draw_part(
    world, keys.stream(jax.random.key(0), "x"), 700, with_outcomes=True
  )
  assert np.abs(rows.features).sum(1).min() > 0
  assert truth.outcomes.revenue.min() > 0
  assert len(np.unique(rows.features[:, 0])) == 700


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"kind": "S9"}, "kind='S9' is not one of S1, S2, S3"),
    ({"confounding": "none"}, "confounding='none'"),
    ({"features": 11}, "features=11 must be at least 12"),
    ({"overlap": 1.5}, "overlap=1.5"),
    ({"n_valid": 0}, "n_valid=0"),
  ],
)
def test_bad_settings_are_refused_by_name(changes, message):
  with pytest.raises(ValueError, match=message):
    simulate(jax.random.key(0), sized(**changes))
