"""TSM-CF; skipped where the extra `forest` (econml) is not installed."""

import importlib.util

import jax
import numpy as np
import pytest

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods, training
from bidfcl_jax.methods.forest import cross_fits, fit_pair, pair_rows
from bidfcl_jax.types import Samples

KEY = jax.random.key(3)
HAS_ECONML = importlib.util.find_spec("econml") is not None
needs_econml = pytest.mark.skipif(
  not HAS_ECONML, reason="econml is not installed (extra `forest`)"
)
# The libraries warn about their own internals.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.mark.skipif(HAS_ECONML, reason="econml is installed")
def test_without_the_extra_the_error_says_how_to_install(
  tiny_study, tiny_config
):
  config = tiny_config()
  method = methods.make("TSM-CF-RCT", config)
  with pytest.raises(ValueError, match=r"pip install 'bidfcl_jax\[forest\]'"):
    training.fit(method, tiny_study, KEY, config)


def test_rows_of_a_pair_are_capped_and_checked():
  samples = Samples.create(
    np.zeros((9, 1)), [0, 1, 2, 0, 1, 2, 0, 1, 0], np.zeros(9), np.zeros(9)
  )
  rng = np.random.default_rng(0)
  np.testing.assert_array_equal(
    pair_rows(samples, 2, 100, rng), [0, 2, 3, 5, 6, 8]
  )
  assert len(pair_rows(samples, 1, 5, rng)) == 5
  with pytest.raises(ValueError, match="arm 3 has fewer than two rows"):
    pair_rows(samples, 3, 100, rng)


def test_folds_take_whole_households_from_all_over_the_file():
  group = np.repeat(np.arange(300), 2)
  fits = cross_fits(group, 3, KEY)
  assert sorted(np.concatenate([rows for _, rows in fits])) == list(range(600))
  for rest, rows in fits:
    assert not set(group[rest]) & set(group[rows])
    assert len(rest) + len(rows) == 600
    # Not a third of the file in one piece.
    assert 250 < np.mean(rows) < 350


def linear_world(rows, rng, *, shuffled=False):
  """Effect on revenue 1 + x_0, on cost 0.5 + 0.5 x_1, noise 1 and 0.2."""
  features = rng.normal(size=(rows, 5))
  arm = rng.integers(0, 2, size=rows)
  given = rng.permutation(arm) if shuffled else arm
  gain, spend = 1 + features[:, 0], 0.5 + 0.5 * features[:, 1]
  revenue = features[:, 2] + arm * gain + rng.normal(size=rows)
  cost = arm * spend + 0.2 * rng.normal(size=rows)
  return Samples.create(features, given, revenue, cost), gain, spend


@quiet
@needs_econml
@pytest.mark.slow
@pytest.mark.parametrize("confounded", [False, True])
def test_linear_effects_are_found(confounded):
  settings = config_lib.make("smoke").forest
  settings.trees, settings.leaf, settings.nuisance_trees = 100, 50, 40
  samples, gain, spend = linear_world(10_000, np.random.default_rng(0))
  forest = fit_pair(
    samples, 1, settings, KEY, confounded=confounded, learn_cost=True
  )
  effects = forest.predict(np.asarray(samples.features))[:, :, 0]
  assert np.corrcoef(effects[:, 0], gain)[0, 1] > 0.9
  assert np.corrcoef(effects[:, 1], spend)[0, 1] > 0.9
  assert abs(effects[:, 0].mean() - gain.mean()) < 0.1


@quiet
@needs_econml
@pytest.mark.slow
def test_a_permuted_treatment_has_no_effect():
  settings = config_lib.make("smoke").forest
  settings.trees, settings.leaf = 100, 200
  samples, gain, _ = linear_world(
    10_000, np.random.default_rng(1), shuffled=True
  )
  forest = fit_pair(
    samples, 1, settings, KEY, confounded=False, learn_cost=True
  )
  effects = forest.predict(np.asarray(samples.features))[:, :, 0]
  assert abs(effects[:, 0].mean()) < 0.1
  assert effects[:, 0].std() < 0.4 * gain.std()


@quiet
@needs_econml
@pytest.mark.parametrize("name", ["TSM-CF-RCT", "TSM-CF-OBS"])
def test_a_run_keeps_no_model_but_its_record(
  name, tiny_study, tiny_config, tmp_path
):
  config = tiny_config(
    forest__trees=8, forest__leaf=10, forest__nuisance_trees=4
  )
  method = methods.make(name, config)
  state, history = training.fit(method, tiny_study, KEY, config, tmp_path)
  features = tiny_study.rct_test.features
  outcomes = method.predict(state, features)
  assert outcomes.revenue.shape == (len(features), tiny_study.arms)
  assert (
    np.isfinite(outcomes.revenue).all() and np.isfinite(outcomes.cost).all()
  )
  assert np.all(outcomes.revenue[:, 0] == 0)
  again, _ = training.fit(method, tiny_study, KEY, config)
  np.testing.assert_array_equal(
    method.predict(again, features).revenue, outcomes.revenue
  )
  assert [line["stage"] for line in history] == ["fit"]
  training.save_served(
    tmp_path, method, state, tiny_study, budget=1.0, extra={}
  )
  with pytest.raises(ValueError, match="keeps its model in memory"):
    training.load_served(tmp_path, method)
