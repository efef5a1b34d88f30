"""The main command, run as a user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.guard import EXIT_STOPPED

TINY = [
  "--preset=smoke",
  "--config.simulator.n_obs=400",
  "--config.simulator.n_rct=300",
  "--config.simulator.n_valid=200",
  "--config.simulator.n_test=300",
  "--config.network.hidden=(8,)",
]
# A relative folder, whose name has a space and a letter beyond ASCII.
TWO = ["--method=TSM-SL-RCT,FT", "--seeds=2", "--workdir=run é 1"]


def begin(*flags, cwd=None):
  above = str(Path(experiments.__file__).parents[1])
  return subprocess.Popen(
    [sys.executable, "-m", "experiments.train", *TINY, *flags],
    cwd=cwd,
    env={**os.environ, "PYTHONPATH": above},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def end(running):
  stdout, stderr = running.communicate()
  return subprocess.CompletedProcess(
    running.args, running.returncode, stdout, stderr
  )


def train(*flags, cwd=None):
  return end(begin(*flags, cwd=cwd))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
  """Returns (where the command ran, what it printed)."""
  home = tmp_path_factory.mktemp("home")
  done = train(*TWO, cwd=home)
  assert done.returncode == 0, done.stderr
  return home, done


def test_fc_18_table_picture_and_a_second_run_refused(first_run):
  home, first = first_run
  (folder,) = home.iterdir()
  assert folder.name == "run é 1"
  assert "Fine-tuning" in first.stdout
  assert (folder / "figures" / "cost_curves.png").read_bytes()[1:4] == b"PNG"
  for name in ("TSM-SL-RCT", "FT"):
    served = folder / "fits" / name / "seed-1" / "served"
    assert {p.name for p in served.iterdir()} == {"served.json", "served.npz"}
    assert any((served.parent / "checkpoints").glob("*/arrays"))
  table = (folder / "tables" / "oracle_eom.csv").read_text()
  assert "TSM-SL" in table
  results = json.loads((folder / "result.json").read_text())["results"]
  best = {
    r["seed"]: r["metrics"]["oracle_eom"]
    for r in results
    if r["method"] == "ORACLE"
  }
  assert len(best) == 2
  for result in results:
    value = result["metrics"]["oracle_eom"]
    assert value <= best[result["seed"]] * (1 + 1e-6)

  before = (folder / "metrics.jsonl").read_bytes()
  second = train(*TWO, cwd=home)
  assert second.returncode == 1
  assert "--overwrite" in second.stderr
  assert "Traceback" not in second.stderr
  assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--method=FTT"], "did you mean FT"),
    (["--config.bilevel.warm_share=2", "stray"], "stray"),
    (["--data=hillstrom"], "--data_path"),
    (["--data_path=x.csv"], "not read with --data=simulated"),
    (["--budget=1", "--total_budget=5"], "not both"),
    (["--config.obs.batch=0"], "obs.batch=0"),
    (["--config.bilevel.ncg=3"], "did you mean 'bilevel.n_cg'"),
    (["--config.network.hidden=a"], "each entry a whole number"),
    (["--flagfile=nowhere"], "Unable to open flagfile"),
  ],
)
def test_bad_flags_are_refused_in_one_line(flags, words, tmp_path):
  done = train(*flags, f"--workdir={tmp_path / 'run'}")
  assert done.returncode != 0
  assert words in done.stderr
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_fc_17_fc_18_a_run_ended_by_a_signal_goes_on_in_a_new_process(
  first_run, tmp_path
):
  running = begin(*TWO, cwd=tmp_path)
  # An epoch is over: a fit has begun, and others are to come.
  while running.poll() is None and not any(tmp_path.glob("*/fits/TSM*/*/m*")):
    time.sleep(0.02)
  running.terminate()
  stopped = end(running)
  assert stopped.returncode == EXIT_STOPPED, stopped.stderr
  assert "the same command goes on" in stopped.stderr
  assert not list(tmp_path.rglob("result.json"))
  again = train(*TWO, cwd=tmp_path)
  assert again.returncode == 0 and "going on" in again.stderr, again.stderr
  models = [p.relative_to(first_run[0]) for p in first_run[0].rglob("*.npz")]
  assert len(models) == 4
  for model in models:
    straight, resumed = (np.load(at / model) for at in (first_run[0], tmp_path))
    for name in straight:
      np.testing.assert_array_equal(resumed[name], straight[name])


@pytest.mark.slow
def test_fc_16_a_run_that_diverges_ends_with_an_error_and_the_step(tmp_path):
  done = train(
    "--method=TSM-SL-RCT", "--seeds=1", f"--workdir={tmp_path / 'run'}",
    "--config.rct.learning_rate=1e30", "--config.training.max_skipped=2",
  )  # fmt: skip
  assert done.returncode == 1
  assert "2 steps in a row were not finite" in done.stderr
  # The first batch was finite, and its step was the last.
  assert "near step 1;" in done.stderr
  assert "Traceback" not in done.stderr
  assert not list(tmp_path.rglob("result.json"))


@pytest.mark.slow
def test_seeds_side_by_side_give_the_table_of_seeds_in_turn(tmp_path):
  flags = ["--method=TSM-SL-RCT,FT", "--seeds=3"]
  tables = []
  for at_once in (1, 2):
    folder = tmp_path / str(at_once)
    done = train(*flags, f"--seeds_at_once={at_once}", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "result.json").read_text())["results"]
    tables.append(
      {(r["method"], r["seed"]): r["metrics"]["oracle_eom"] for r in results}
    )
    assert (folder / "fits" / "FT" / "seed-2" / "served").exists()
  assert tables[0].keys() == tables[1].keys()
  for name, value in tables[0].items():
    assert tables[1][name] == pytest.approx(value, rel=1e-3)
