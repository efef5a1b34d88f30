"""Every simple rival through the trainer: finite Outcomes of all arms."""

import jax
import numpy as np
import pytest

from bidfcl_jax import methods, training

RIVALS = (
  "FT",
  "AVG",
  "AVG2",
  "AVG-score",
  "STACK",
  "FT-ENS",
  "KD-FT",
  "MEAN-W",
  "SEED-2",
  "UNION-w",
  "RES",
  "GROUND",
  "SHARED",
  "RESPONSE",
  "DHCL",
)


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("name", RIVALS)
def test_fit_and_predict(name, known, tiny_study, tiny_config):
  config = tiny_config(dhcl__epochs=3, dhcl__batch=300, simple__members=2)
  study = tiny_study
  if known:
    study = study.replace(known_cost=np.arange(study.arms, dtype=np.float64))
  method = methods.make(name, config)
  state, history = training.fit(method, study, jax.random.key(3), config)
  outcomes = method.predict(state, study.rct_test.features)
  shape = (len(study.rct_test), study.arms)
  assert outcomes.revenue.shape == outcomes.cost.shape == shape
  assert np.isfinite(outcomes.revenue).all()
  assert np.isfinite(outcomes.cost).all()
  assert np.std(np.asarray(outcomes.revenue), axis=0).max() > 0
  if known:
    np.testing.assert_array_equal(outcomes.cost[3], np.arange(study.arms))
  assert all(line["skipped"] == 0 for line in history if "skipped" in line)
