"""What a trainer warns of; both trainers do."""

import jax
import numpy as np
import pytest
from absl import logging

from bidfcl_jax import methods, training
from bidfcl_jax.training import records


@pytest.fixture
def said(monkeypatch):
  """The warnings, as they read."""
  words = []
  monkeypatch.setattr(
    logging, "warning", lambda text, *a: words.append(text % a)
  )
  return words


def test_a_bridge_without_signal_is_named(said):
  line = {"stage": "bilevel", "epoch": 3, "zero_hypergradient": 0.25}
  records.warn_without_signal(line)
  assert said == [
    "bilevel, epoch 3: hypergradient exactly 0 in 25 % of bridge updates; the "
    "bridge has no signal there"
  ]
  records.warn_without_signal(line | {"zero_hypergradient": 0.0})
  records.warn_without_signal({"stage": "obs", "epoch": 0})
  assert len(said) == 1


@pytest.mark.parametrize("side_by_side", [False, True])
def test_both_trainers_compare_the_covariates(
  side_by_side, said, tiny_study, tiny_config
):
  config = tiny_config(rct__epochs=1)
  method = methods.make("TSM-SL-RCT", config)
  moved = np.array(tiny_study.obs.features)
  moved[:, 2] += 0.7
  study = tiny_study.replace(obs=tiny_study.obs.replace(features=moved))
  key = jax.random.key(0)
  if side_by_side:
    training.fit_seeds(method, [study], [key], config)
  else:
    training.fit(method, study, key, config)
  name = study.feature_names[2] if study.feature_names else "feature 2"
  assert [words for words in said if name in words]
