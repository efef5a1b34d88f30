"""The search, run as a user runs it, and a table that reads its choice."""

import json
import subprocess
import sys

import jax
import pytest
from test_train import TINY

from bidfcl_jax.files import read_lines
from bidfcl_jax.report import claim
from experiments import trials, tune


def run(script, *flags, sizes=TINY):
  return subprocess.run(
    [sys.executable, "-m", f"experiments.{script}", *sizes, *flags],
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_long_search_drops_its_compiled_code(monkeypatch, tmp_path):
  dropped, seen = [], []
  trial = trials.Trial("FT", 0, "valid_mse", {}, (1.0,), 0.0)

  def run_trial(name, number, *_):
    seen.append(number)
    return trial._replace(trial=number)

  monkeypatch.setattr(trials, "run_trial", run_trial)
  monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(len(seen)))
  with claim(tmp_path / "run", {}, "hash") as workdir:
    tune._search({"FT": [{}] * 40}, None, {}, "valid_mse", workdir)
    assert sorted(trials.logged(workdir)) == [("FT", k) for k in range(40)]
  assert dropped == [16, 32]


@pytest.mark.slow
def test_search_resume_and_a_tuned_table(tmp_path):
  folder, table = tmp_path / "search", tmp_path / "table"
  flags = [
    "--methods=TSM-SL-RCT,FT",
    "--trials=3",
    "--seeds=1",
    "--config.obs.epochs=1",
    f"--workdir={folder}",
  ]
  first = run("tune", *flags)
  assert first.returncode == 0, first.stderr
  lines = read_lines(folder / "metrics.jsonl")
  assert [(line["method"], line["trial"]) for line in lines] == [
    (name, k) for name in ("TSM-SL-RCT", "FT") for k in range(3)
  ]
  assert lines[0]["options"] == {}
  assert all("obs.epochs" not in line["options"] for line in lines)
  chosen = json.loads((folder / "chosen.json").read_text())
  for name in ("TSM-SL-RCT", "FT"):
    own = [line for line in lines if line["method"] == name]
    winner = min(own, key=lambda line: sum(line["values"]))
    assert chosen["methods"][name] == winner["options"]

  # As if killed after the fourth trial: only the others are run again.
  (folder / "result.json").unlink()
  kept = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:4]
  (folder / "metrics.jsonl").write_bytes(b"".join(kept))
  again = run("tune", *flags)
  assert again.returncode == 0, again.stderr
  assert (folder / "metrics.jsonl").read_bytes().startswith(b"".join(kept))
  after = read_lines(folder / "metrics.jsonl")
  assert [line["values"] for line in after] == [
    line["values"] for line in lines
  ]

  use = ["--method=TSM-SL-RCT,FT", f"--tuned={folder / 'chosen.json'}"]
  refused = run("train", *use, "--first_seed=1000", f"--workdir={table}")
  assert refused.returncode == 1 and "used by the search" in refused.stderr
  done = run("train", *use, "--seeds=1", f"--workdir={table}")
  assert done.returncode == 0, done.stderr
  assert "tuned: 3 trials" in done.stdout
  opened = run("evaluate", f"--workdir={table}", "--method=FT", sizes=())
  assert opened.returncode == 0, opened.stderr
