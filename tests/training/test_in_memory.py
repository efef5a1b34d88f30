"""A method without stages, served by the one trainer."""

import jax
import numpy as np

from bidfcl_jax import training
from bidfcl_jax.files import read_lines
from bidfcl_jax.methods import Method
from bidfcl_jax.types import Outcomes

KEY = jax.random.key(1)


def fit_means(key, study):
  del key
  assert study.truth is None and study.rct_test is None
  return np.full(study.arms, study.rct_train.revenue.mean())


def predict(state, features):
  cells = np.broadcast_to(state, (len(features), len(state)))
  return Outcomes(cells, cells)


METHOD = Method("means", None, (), predict, fit_means)


def test_it_is_fitted_once_and_its_seconds_are_recorded(
  tiny_study, tiny_config, tmp_path
):
  told = []
  for _ in range(2):  # a run that was stopped begins again
    state, history = training.fit(
      METHOD, tiny_study, KEY, tiny_config(), tmp_path, on_record=told.append
    )
  assert state[0] == tiny_study.rct_train.revenue.mean()
  assert [line["stage"] for line in history] == ["fit"]
  assert history[0]["seconds"] >= 0
  assert len(told) == 2
  assert len(read_lines(tmp_path / "metrics.jsonl")) == 1
