"""The main command, run as a user runs it."""

import json
import subprocess
import sys

import pytest

TINY = [
  "--preset=smoke",
  "--config.simulator.n_obs=400",
  "--config.simulator.n_rct=300",
  "--config.simulator.n_valid=200",
  "--config.simulator.n_test=300",
  "--config.network.hidden=(8,)",
]


def train(*flags):
  return subprocess.run(
    [sys.executable, "-m", "experiments.train", *TINY, *flags],
    capture_output=True,
    text=True,
    check=False,
  )


def test_fc_18_table_picture_and_a_second_run_refused(tmp_path):
  folder = tmp_path / "run é 1"
  flags = ["--method=TSM-SL-RCT,FT", "--seeds=2", f"--workdir={folder}"]
  first = train(*flags)
  assert first.returncode == 0, first.stderr
  assert "Fine-tuning" in first.stdout
  assert (folder / "figures" / "cost_curves.png").read_bytes()[1:4] == b"PNG"
  for name in ("TSM-SL-RCT", "FT"):
    served = folder / "fits" / name / "seed-1" / "served"
    assert {p.name for p in served.iterdir()} == {"served.json", "served.npz"}
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
  second = train(*flags)
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
  ],
)
def test_bad_flags_are_refused_in_one_line(flags, words, tmp_path):
  done = train(*flags, f"--workdir={tmp_path / 'run'}")
  assert done.returncode != 0
  assert words in done.stderr
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "run").exists()


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
