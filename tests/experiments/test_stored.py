"""Which fit of a run is meant, and the settings that it ran with."""

import shutil

import jax
import numpy as np
import pytest
from stored_run import SIZES

from bidfcl_jax import config as config_lib
from bidfcl_jax import data
from bidfcl_jax.files import append_line
from bidfcl_jax.keys import stream
from bidfcl_jax.report import Result
from experiments import runner, stored


@pytest.fixture
def several(trained_run, tmp_path):
  """The run with results of more fits."""
  for name in ("config.json", "metrics.jsonl"):
    shutil.copy(trained_run / name, tmp_path / name)
  for name, seed in (("FT", 0), ("FT", 3)):
    line = Result(name, seed, {"eom": 1.0}).to_record()
    append_line(tmp_path / "metrics.jsonl", line)
  return tmp_path


def test_settings_come_back(trained_run):
  expected = config_lib.make("smoke", "recommended", SIZES)
  assert stored.settings_of(trained_run) == expected


def test_the_only_fit_needs_no_name(trained_run):
  assert stored.choose(trained_run, None, None) == ("TSM-SL-RCT", 0)


@pytest.mark.parametrize(
  ("method", "seed", "message"),
  [
    (None, None, "several methods.*--method.*TSM-SL-RCT, FT"),
    ("FT", None, "several seeds of FT.*--seed.*0, 3"),
    ("FT", 1, "FT of seeds 0, 3, not 1"),
    ("AVG", None, "holds no 'AVG'; it holds TSM-SL-RCT, FT"),
  ],
)
def test_what_is_not_one_fit_is_refused_with_the_list(
  several, method, seed, message
):
  with pytest.raises(ValueError, match=message):
    stored.choose(several, method, seed)
  assert stored.choose(several, "FT", 3) == ("FT", 3)


def test_a_fit_without_a_stored_model_is_refused(several):
  with pytest.raises(ValueError, match="no stored model"):
    stored.open_fit(several, "FT", 0)


def test_predictions_and_data_come_back(trained_run):
  config = stored.settings_of(trained_run)
  served = stored.open_fit(trained_run, "TSM-SL-RCT", 0)
  key = stream(jax.random.key(0), "study")
  study = data.simulate(key, config.simulator)
  assert served.record["study_hash"] == runner.study_hash(study)
  assert served.record["versions"]["jax"] == jax.__version__
  valid = served.outcomes(study.rct_valid.features)
  np.testing.assert_array_equal(valid.revenue, served.predicted.revenue)
  np.testing.assert_array_equal(served.logged.cost, study.rct_valid.cost)
