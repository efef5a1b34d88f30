import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.methods.logging_policy import (
  HELD_OUT,
  calibrate,
  deal,
  make_policy_fit,
  received_propensity,
)
from bidfcl_jax.types import Samples

KEY = jax.random.key(3)
ROWS = 6_000


def logged(seed=0):
  """Returns OBS rows of a known logistic policy, and its propensities."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(ROWS, 2))
  odds = np.exp(np.stack([0 * x[:, 0], x[:, 0], -x[:, 1]], axis=1))
  share = odds / odds.sum(axis=1, keepdims=True)
  arm = (rng.random((ROWS, 1)) > share.cumsum(axis=1)).sum(axis=1)
  zero = np.zeros(ROWS)
  return Samples.create(x, np.minimum(arm, 2), zero, zero), share


@pytest.fixture(scope="module")
def problem(tiny_study, tiny_config):
  config = tiny_config(
    propensity__epochs=6, obs__batch=250, obs__learning_rate=0.02
  )
  obs, share = logged()
  study = tiny_study.replace(obs=obs, propensity=np.full(3, 1 / 3))
  fit = make_policy_fit(config)
  return config, study, share, fit, fit(KEY, study)


def test_known_propensities_are_found(problem):
  config, study, share, _, policy = problem
  found = received_propensity(policy, config, study.obs)
  truth = share[np.arange(ROWS), study.obs.arm]
  assert np.abs(found - truth).mean() < 0.03
  entropy = -np.log(truth).mean()
  np.testing.assert_allclose(policy.log_loss, entropy, atol=0.08)
  np.testing.assert_allclose(policy.temperature, 1, atol=0.3)


def test_a_network_never_saw_the_fold_it_judges(problem):
  config, study, _, fit, policy = problem
  fold, _ = deal(KEY, study.obs, config.propensity.folds)
  arm = np.where(fold == 0, 2 - study.obs.arm, study.obs.arm)
  other = fit(KEY, study.replace(obs=study.obs.replace(arm=arm)))
  for old, new in zip(
    jax.tree.leaves(policy.params), jax.tree.leaves(other.params), strict=True
  ):
    np.testing.assert_array_equal(old[0], new[0])
    assert not np.array_equal(old[1], new[1])


def test_households_stay_together():
  obs, _ = logged()
  obs = obs.replace(group=np.arange(ROWS, dtype=np.int32) // 4)
  fold, held = deal(KEY, obs, 3)
  assert (fold.reshape(-1, 4) == fold[::4, None]).all()
  assert (held.reshape(-1, 4) == held[::4, None]).all()
  np.testing.assert_allclose(np.bincount(fold) / ROWS, 1 / 3, atol=1e-3)
  assert held.mean() == pytest.approx(HELD_OUT, abs=2e-3)


def test_temperature_of_sharpened_logits():
  obs, share = logged()
  arm, ones = jnp.asarray(obs.arm), jnp.ones(ROWS)
  found = calibrate(jnp.asarray(3 * np.log(share)), arm, ones)
  assert found == pytest.approx(3, rel=0.1)
  assert calibrate(jnp.asarray(np.log(share)), arm, 0 * ones) == 1
