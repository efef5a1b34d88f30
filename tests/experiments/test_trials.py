"""A trial's value comes from validation rows, the choice from finite ones."""

import math

import numpy as np
import pytest

from bidfcl_jax import evaluation, methods, training
from bidfcl_jax.report import claim
from bidfcl_jax.types import Outcomes
from experiments import trials
from experiments.trials import Trial, best


def trial(number, *values, criterion="valid_mse"):
  return Trial("FT", number, criterion, {}, values, 1.0)


def test_the_best_mean_and_never_a_failed_fit():
  assert best([trial(0, 2.0, 2.0), trial(1, 1.0, 2.0)]).trial == 1
  up = [trial(k, v, criterion="valid_eom") for k, v in enumerate((1.0, 3.0))]
  assert best(up).trial == 1
  assert best([trial(0, 2.0), trial(1, math.nan), trial(2, 2.0)]).trial == 0
  assert best([trial(0, 9.0, 9.0), trial(1, 0.0, math.nan)]).trial == 0
  assert best([trial(0, math.nan)]) is None


def test_methods_without_a_level_are_judged_by_policy():
  assert set(methods.names()) >= trials.NO_LEVEL
  assert trials.criterion_of("DHCL", "valid_mse") == "valid_eom"
  assert trials.criterion_of("FT", "valid_mse") == "valid_mse"


@pytest.mark.parametrize("known", [False, True])
def test_values_of_validation_rows(known, tiny_study):
  study = tiny_study.for_learners()
  costs = np.arange(study.arms, dtype=np.float64)
  if known:
    study = study.replace(known_cost=costs)
  rows = study.rct_valid
  rng = np.random.default_rng(0)
  made = rng.gamma(2.0, size=(2, len(rows), study.arms))
  outcomes = Outcomes(*made.astype(np.float32))
  picked = np.arange(len(rows)), np.asarray(rows.arm)
  errors = [
    np.mean(((made[k][picked] - seen) / scale) ** 2)
    for k, (seen, scale) in enumerate(
      (
        (rows.revenue, study.scalers.revenue),
        (rows.cost, study.scalers.cost),
      )
    )
  ]
  expected = errors[0] + (0 if known else errors[1])
  value = trials.validation_value("valid_mse", outcomes, study, 1.0)
  assert value == pytest.approx(expected, rel=1e-5)
  value = trials.validation_value("valid_eom", outcomes, study, 1.0)
  assert value == evaluation.eom(
    outcomes, rows, study.propensity, 1.0, estimator="snipw"
  )


@pytest.mark.parametrize("failure", [training.Diverged, ValueError])
def test_a_trial_runs_with_its_options_on_learners_data(
  failure, tiny_study, tiny_config, monkeypatch
):
  seen = []

  def fit(method, study, key, config):
    seen.append((config.rct.epochs, method.stages[0].epochs))
    assert study.truth is None and study.rct_test is None
    if len(seen) == 2:
      raise failure("not finite")
    return method.init(key, study), []

  monkeypatch.setattr(training, "fit", fit)
  study = tiny_study.for_learners()
  done = trials.run_trial(
    "TSM-SL-RCT",
    3,
    {"rct.epochs": 7},
    tiny_config(),
    {1000: study, 1001: study},
    "valid_mse",
  )
  assert seen == [(7, 7), (7, 7)]
  assert math.isfinite(done.values[0]) and math.isnan(done.values[1])
  assert done.error == "seed 1001: not finite"
  assert math.isnan(done.mean)


def test_trials_come_back_from_the_folder(tmp_path):
  failed = trial(1, math.nan, 2.0)._replace(options={"obs.epochs": 3})
  with claim(tmp_path / "run", {}, "hash", command=["test"]) as workdir:
    workdir.log({"kind": "other"})
    workdir.log(trial(0, 1.0, 2.0).to_record())
    workdir.log(failed.to_record())
    found = trials.logged(workdir)
  assert found["FT", 0] == trial(0, 1.0, 2.0)
  assert found["FT", 1].options == {"obs.epochs": 3}
  assert math.isnan(found["FT", 1].values[0])
  text = trials.table({"FT": [found["FT", 0], found["FT", 1]]})
  assert text.splitlines()[1].split() == [
    "Fine-tuning",
    "valid_mse",
    "1.5",
    "1.5",
    "0",
    "2",
  ]
