import functools

import jax
import numpy as np
import pytest
from scipy.special import expit

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data.assemble import Rows
from bidfcl_jax.data.hybrid import accept, hybrid_study, tilted_policy

ARMS = ("none", "womens", "mens")
FEATURES = ("age", "loyal", "zip=a", "zip=b")
TILT = np.array([0, 0.5, 1])
EFFECT = np.array([0.0, 0.05, 0.1])
SHARES = np.array([0.5, 0.3, 0.2])


@functools.cache
def trial(n=40_000):
  """A small RCT: households of two, visits driven by age, loyalty and zip."""
  rng = np.random.default_rng(0)
  age, loyal = rng.normal(40, 10, n), rng.integers(0, 2, n)
  zone = rng.integers(0, 2, n)
  x = np.column_stack([age, loyal, zone == 0, zone == 1]).astype(float)
  arm = rng.choice(3, n, p=SHARES)
  base = expit((age - 40) / 10 + loyal + 0.5 * zone - 1.5)
  visit = (rng.random(n) < 0.85 * base + EFFECT[arm]).astype(float)
  return Rows(x, arm, 10 * visit, visit, np.arange(n) // 2), visit


def study(seed=0, *, features=FEATURES, most_kept=1.0, **settings):
  rows, visit = trial()
  return hybrid_study(
    rows,
    jax.random.key(seed),
    HybridConfig(**settings),
    arm_names=ARMS,
    feature_names=features,
    prognostic=visit,
    most_kept=most_kept,
  )


def naive(obs):
  mean = [obs.cost[obs.arm == j].mean() for j in range(3)]
  return np.array(mean[1:]) - mean[0]


def weighted(obs, e):
  inverse = 1 / e[np.arange(len(obs)), obs.arm]
  mean = [
    np.average(obs.cost[obs.arm == j], weights=inverse[obs.arm == j])
    for j in range(3)
  ]
  return np.array(mean[1:]) - mean[0]


def test_true_propensities_remove_the_bias_that_naive_means_have():
  studies = [study(seed) for seed in range(12)]
  ipw = np.array([weighted(s.obs, s.truth.logging) for s in studies])
  # The pools overlap: their own error counts once, as that of the trial.
  rows, visit = trial()
  whole = naive(rows._replace(cost=visit))
  assert np.all(np.abs(ipw.mean(0) - whole) < 4 * ipw.std(0) / np.sqrt(12))
  assert np.all(ipw.std(0) < 0.04)
  bias = np.array([naive(s.obs) for s in studies]).mean(0) - whole
  assert bias[0] > 0.02 and bias[1] > 0.05


def test_strength_zero_keeps_every_row_unbiased():
  made = study(strength=0.0)
  pool = 40_000 - len(made.rct_train) - len(made.rct_valid) - len(made.rct_test)
  assert len(made.obs) == pool
  np.testing.assert_allclose(
    made.truth.logging, np.tile(made.truth.logging[:1], (pool, 1))
  )
  assert np.all(np.abs(naive(made.obs) - EFFECT[1:]) < 0.04)


def test_propensities_are_distributions_above_the_floor():
  e = study(strength=2.0, floor=0.04).truth.logging
  np.testing.assert_allclose(e.sum(1), 1, atol=1e-12)
  assert 0.04 <= e.min() < 0.06


def test_fc_02_declared_shares_reach_policy_and_study():
  rows, visit = trial()
  made = hybrid_study(
    rows,
    jax.random.key(0),
    HybridConfig(strength=0.0),
    arm_names=ARMS,
    feature_names=FEATURES,
    prognostic=visit,
    propensity=SHARES,
    known_cost=[0, 1, 2],
  )
  np.testing.assert_allclose(made.truth.logging[0], SHARES)
  np.testing.assert_array_equal(made.propensity, SHARES)
  assert made.budget == 1


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_kept_share_is_one_over_c_and_arms_follow_e_in_score_bins(floor):
  rng = np.random.default_rng(1)
  score = rng.standard_normal(100_000)
  e = tilted_policy(score, SHARES, TILT, strength=1.0, floor=floor)
  arm = rng.choice(3, len(score), p=SHARES)
  kept = accept(e, SHARES, arm, jax.random.key(0))
  share = 1 / (e / SHARES).max()
  se = np.sqrt(share * (1 - share) / len(score))
  assert abs(kept.mean() - share) < 4 * se
  edges = np.quantile(score, [0.2, 0.4, 0.6, 0.8])
  bins = np.digitize(score, edges)
  for b in range(5):
    got = kept & (bins == b)
    freq = np.bincount(arm[got], minlength=3) / got.sum()
    mean = e[got].mean(0)
    assert np.all(np.abs(freq - mean) < 4 * np.sqrt(mean / got.sum()))
    # P(x) is left as it was: each fifth of the pool is a fifth of the kept.
    assert got.sum() / kept.sum() == pytest.approx(0.2, abs=0.015)


def test_policy_is_the_tilted_softmax():
  e = tilted_policy(np.array([2.0]), SHARES, TILT, strength=0.7, floor=0.05)
  raw = SHARES * np.exp(0.7 * TILT * 2.0)
  np.testing.assert_allclose(e[0], 0.05 + 0.85 * raw / raw.sum())


def test_score_clip_bounds_the_policy():
  free, clipped = study(strength=1.0), study(strength=1.0, clip=0.5)
  ratio = [
    np.ptp(np.log(s.truth.logging[:, 2] / s.truth.logging[:, 0]))
    for s in (free, clipped)
  ]
  # log(e_2 / e_0) moves by k (b_2 - b_0) s: by 1 over a clip of +-0.5.
  assert ratio[0] > 2 and ratio[1] == pytest.approx(1, abs=1e-6)


def test_hidden_columns_drive_the_policy_but_reach_no_learner():
  made = study(hidden=("loyal", "zip"))
  assert made.feature_names == ("age",)
  for part in (made.obs, made.rct_train, made.rct_valid, made.rct_test):
    assert part.features.shape[1] == 1
  # The same rows are kept as with open columns: the policy still read them.
  np.testing.assert_array_equal(made.truth.logging, study().truth.logging)
  assert study(hidden=("zip=a",)).feature_names == ("age", "loyal", "zip=b")


def test_accepted_rows_beyond_the_wanted_share_go_at_random(caplog):
  every, thin = study(), study(most_kept=0.2)
  pool = 40_000 - sum(map(len, (thin.rct_train, thin.rct_valid, thin.rct_test)))
  assert len(thin.obs) == round(0.2 * pool) < len(every.obs)
  np.testing.assert_array_equal(thin.rct_test.arm, every.rct_test.arm)
  # As if the same policy had logged fewer people: arms still follow e.
  hit = thin.obs.arm[:, None] == np.arange(3)
  gap = (hit - thin.truth.logging).mean(axis=0)
  assert np.all(np.abs(gap) < 4 * np.sqrt(0.25 / len(hit)))
  shift = thin.truth.logging.mean(axis=0) - every.truth.logging.mean(axis=0)
  assert np.all(np.abs(shift) < 0.01)
  assert not caplog.records
  assert len(study(most_kept=0.9).obs) == len(every.obs)
  assert "fewer than the wanted 90.0 %" in caplog.text


def test_households_never_straddle_parts():
  made = study()
  parts = (made.obs, made.rct_train, made.rct_valid, made.rct_test)
  homes = [set(part.group) for part in parts]
  assert len(set().union(*homes)) == sum(len(h) for h in homes)
  assert len(made.rct_test) == 14_000 and len(made.rct_train) == 2_000


def test_pool_outcomes_do_not_decide_what_is_kept():
  rows, visit = trial()
  made = study()
  changed = np.where(np.isin(rows.group, made.obs.group), 1 - visit, visit)
  again = hybrid_study(
    rows,
    jax.random.key(0),
    HybridConfig(),
    arm_names=ARMS,
    feature_names=FEATURES,
    prognostic=changed,
  )
  np.testing.assert_array_equal(again.obs.group, made.obs.group)


def test_same_key_same_study_and_no_potential_outcomes():
  one, two = study(3), study(3)
  jax.tree.map(np.testing.assert_array_equal, one, two)
  assert one.truth.outcomes is None
  assert not np.array_equal(one.obs.group[:50], study(4).obs.group[:50])


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"hidden": ("agee",)}, "agee; the columns are age, loyal, zip"),
    ({"hidden": ("age", "loyal", "zip")}, "withholds every column"),
    ({"test": 0.9}, "shares of parts"),
    ({"floor": 0.5}, "floor=0.5 .* 1/3"),
  ],
)
def test_bad_settings_are_refused_by_name(settings, message):
  with pytest.raises(ValueError, match=message):
    study(**settings)


def test_wrong_prognostic_or_tilt_is_refused():
  rows, visit = trial()
  make = functools.partial(
    hybrid_study,
    rows,
    jax.random.key(0),
    HybridConfig(),
    arm_names=ARMS,
    feature_names=FEATURES,
  )
  with pytest.raises(ValueError, match="prognostic has shape"):
    make(prognostic=visit[:-1])
  with pytest.raises(ValueError, match="arm_tilt .* 3 arms"):
    make(prognostic=visit, arm_tilt=[0, 1])
