"""A stored run judged: against the one-budget metric, and as a user asks."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from stored_run import make_run, people

from bidfcl_jax import data, evaluation
from bidfcl_jax.files import append_line
from bidfcl_jax.keys import stream
from bidfcl_jax.report import Result
from bidfcl_jax.types import Outcomes, Samples
from experiments import judging, runner, stored


@pytest.fixture(scope="module")
def served(trained_run):
  return stored.open_fit(trained_run, "TSM-SL-RCT", 0)


def command(*words):
  return subprocess.run(
    [sys.executable, "-m", "experiments.evaluate", *words],
    capture_output=True,
    text=True,
    check=False,
  )


def trial(rows=300, seed=0):
  rng = np.random.default_rng(seed)
  pull = rng.uniform(0.5, 3, (rows, 1))
  outcomes = Outcomes(pull * [0, 1, 1.5], np.tile([0.0, 1, 2], (rows, 1)))
  arm = rng.integers(3, size=rows).astype(np.int32)
  at = np.arange(rows), arm
  noise = rng.normal(0, 0.2, rows)
  return outcomes, Samples(
    np.zeros((rows, 1)), arm, outcomes.revenue[at] + noise, outcomes.cost[at]
  )


def test_values_at_budgets_are_eom_and_its_gain_per_unit_of_cost():
  outcomes, samples = trial()
  budgets = [0.3, 0.9, 5.0]
  key = jax.random.key(0)
  got = judging.at_budgets(outcomes, samples, budgets, key, replicates=20)
  assert got.estimate.shape == (3, 2)
  nobody = evaluation.arm_means(samples, arms=3)
  for k, budget in enumerate(budgets):
    known = evaluation.eom_result(outcomes, samples, None, budget)
    np.testing.assert_allclose(got.estimate[k, 0], known.revenue, rtol=1e-9)
    gain = (known.revenue - nobody.revenue[0, 0]) / (
      known.cost - nobody.cost[0, 0]
    )
    np.testing.assert_allclose(got.estimate[k, 1], gain, rtol=1e-9)
  assert (got.low < got.high).all()


def test_default_budgets_span_control_to_unbound():
  outcomes, samples = trial()
  budgets = judging.spread_budgets(outcomes, samples)
  assert len(budgets) == 10 and budgets[0] > 0
  free = evaluation.eom_result(outcomes, samples, None, 1e9).cost
  assert budgets[-1] >= free * (1 - 1e-9)


def table_of(rows=200):
  rng = np.random.default_rng(1)
  return people(rows).with_columns(
    offer=pl.Series(rng.choice(["none", "5%", "10%", "15%", "20%"], rows)),
    gain=pl.Series(rng.gamma(1, 5, rows)),
    paid=pl.Series(rng.gamma(1, 1, rows)),
    source=pl.Series(np.where(np.arange(rows) % 4 == 0, "obs", "RCT")),
    home=pl.Series(np.arange(rows) // 3).cast(pl.String),
  )


def test_fc_01_a_new_trial_is_coded_by_the_runs_arms(served, tmp_path):
  path = tmp_path / "trial.csv"
  table = table_of().filter(pl.col("offer").is_in(["none", "20%"]))
  table.write_csv(path)
  columns = judging.Columns("offer", "gain", "paid", "source", "home")
  samples = judging.read_trial(served, path, columns)
  kept = table.filter(pl.col("source") == "RCT")
  np.testing.assert_array_equal(
    samples.arm, 4 * (kept["offer"] == "20%").to_numpy()
  )
  np.testing.assert_allclose(samples.revenue, kept["gain"], rtol=1e-6)
  assert len(np.unique(samples.group)) == kept["home"].n_unique()


@pytest.mark.parametrize(
  ("columns", "message"),
  [
    (judging.Columns(None, "gain", "paid"), "--arm_column"),
    (judging.Columns("offer", "gain"), "--cost_column"),
    (judging.Columns("source", "gain", "paid"), "not one of the declared none"),
    (judging.Columns("offer", "who", "paid"), "'p0' is not a number"),
  ],
)
def test_trials_that_do_not_fit_are_refused(served, tmp_path, columns, message):
  path = tmp_path / "trial.csv"
  table_of().write_csv(path)
  with pytest.raises(ValueError, match=message):
    judging.read_trial(served, path, columns)


@pytest.fixture(scope="module")
def run_of_three(tmp_path_factory):
  """Three methods in one run; all but AVG predict the same."""
  root = tmp_path_factory.mktemp("three")
  run, same = (make_run(root / name, name) for name in ("TSM-SL-RCT", "FT"))
  store = runner.store

  def store_other(plan, method, state, *rest):
    target = jax.tree.map(jnp.negative, state.target)
    store(plan, method, state.replace(target=target), *rest)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(runner, "store", store_other)
    unlike = make_run(root / "AVG", "AVG")
  for other in (same, unlike):
    shutil.copytree(other / "fits", run / "fits", dirs_exist_ok=True)
    record = Result(other.name, 0, {"eom": 1.0}).to_record()
    append_line(run / "metrics.jsonl", record)
  return run


@pytest.mark.slow
def test_fc_08_methods_judged_in_one_call_get_what_each_gets_alone(
  run_of_three, tmp_path
):
  config = stored.settings_of(run_of_three)
  study = data.simulate(stream(jax.random.key(0), "study"), config.simulator)
  alone = {}
  for name in ("TSM-SL-RCT", "FT", "AVG"):
    served = stored.open_fit(run_of_three, name, 0)
    outcomes = served.outcomes(study.rct_test.features)
    alone[name] = [
      evaluation.eom(outcomes, study.rct_test, None, b) for b in (0.8, 1.5)
    ]
  assert alone["FT"] == alone["TSM-SL-RCT"] != alone["AVG"]
  arms = set()
  for first in ("FT", "AVG"):
    folder = tmp_path / first
    done = command(
      f"--workdir={run_of_three}", f"--method={first}", f"--output={folder}",
      "--replicates=5", "--budgets=0.8,1.5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nobody (none)" in done.stdout and "best arm mix" in done.stdout
    assert (folder / "curve.png").read_bytes()[1:4] == b"PNG"
    table = pl.read_csv(folder / "budgets.csv").rename({"eom": first})
    for name, expected in alone.items():
      np.testing.assert_allclose(table[name], expected, rtol=1e-9)
    arms.add((folder / "arms.csv").read_bytes())
  assert len(arms) == 1


@pytest.mark.slow
def test_other_data_than_the_runs_are_refused(trained_run, tmp_path):
  shutil.copytree(trained_run, tmp_path / "run")
  path = next((tmp_path / "run").rglob("served.json"))
  record = json.loads(path.read_text())
  path.write_text(json.dumps(record | {"study_hash": "another"}))
  done = command(f"--workdir={tmp_path / 'run'}")
  assert done.returncode == 1 and "Traceback" not in done.stderr
  assert "not those of the run" in done.stderr
