"""Studies: every row can be made, a shared teacher changes nothing."""

import types
from unittest import mock

import chex
import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from test_tune import run

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, evaluation, methods, training
from bidfcl_jax.files import read_lines
from bidfcl_jax.keys import stream
from bidfcl_jax.report import Result
from experiments import common, hypergradient_error, study_table, study_worlds
from experiments.study_worlds import SETS

KEY = jax.random.key(5)
ROWS = [(name, v) for name, own in SETS.items() for v in own.variants]


@pytest.mark.parametrize("name", SETS)
def test_labels_of_a_set_are_its_own(name):
  labels = [v.label for v in SETS[name].variants]
  assert len(labels) == len(set(labels)) > 1


@pytest.mark.parametrize(
  ("name", "variant"), ROWS, ids=[f"{name}-{v.label}" for name, v in ROWS]
)
def test_every_row_can_be_made(name, variant):
  options = {**SETS[name].base, **variant.options}
  recipe = variant.recipe or "recommended"
  config = config_lib.make("quick", recipe, options)
  assert methods.make(variant.method, config).stages


def test_a_teacher_trained_once_gives_what_each_would_train(
  tiny_study, tiny_config
):
  config = tiny_config()
  teachers = {}
  for name in ("FROZEN", "Bi-DFCL-PPL-explicit"):
    method = methods.make(name, config)
    shared, later = study_worlds.fit(method, tiny_study, KEY, config, teachers)
    alone, whole = training.fit(method, tiny_study, KEY, config)
    chex.assert_trees_all_equal(
      jax.tree.map(np.asarray, shared), jax.tree.map(np.asarray, alone)
    )
    assert [line["stage"] for line in later] == [
      line["stage"] for line in whole[-len(later) :]
    ]
  assert len(teachers) == 1


def test_teachers_of_other_settings_are_not_shared(tiny_study, tiny_config):
  teachers = {}
  for rate in (1e-3, 2e-3):
    config = tiny_config(obs__learning_rate=rate, lower__epochs=2)
    method = methods.make("FROZEN", config)
    study_worlds.fit(method, tiny_study, KEY, config, teachers)
  assert len(teachers) == 2


def test_a_given_budget_trains_and_judges(monkeypatch):
  variant = SETS["ladder"].variants[0]
  world = {f"simulator.n_{name}": 50 for name in ("obs", "rct", "valid")}
  chosen = SETS["ladder"]._replace(base=world)
  fitted, judged, lines = [], [], []
  monkeypatch.setattr(
    study_worlds, "fit", lambda *args: (fitted.append(args[3].budget), [])
  )
  monkeypatch.setattr(
    study_worlds, "judge", lambda *args: judged.append(args[3]) or {}
  )
  with flagsaver.flagsaver():
    flags.FLAGS(["study", "--preset=smoke", "--budget=0.05"])
    config = study_worlds.settings(chosen, variant)
    log = types.SimpleNamespace(log=lines.append)
    made = {variant.label: (None, config)}
    study_worlds.run_world([variant], 3, made, set(), log, mock.Mock())
  assert fitted == judged == [0.05]
  key = stream(jax.random.key(3), "study")
  truth = data.simulate(key, config.simulator).truth.outcomes
  best = evaluation.oracle_policy(truth, 0.05).revenue
  assert lines[0]["metrics"]["oracle_eom@1"] == pytest.approx(float(best))


def results(label, *values):
  names = ("oracle_eom@0.5", "oracle_eom@1", "oracle_eom@1.5")
  return [
    Result(label, seed, dict.fromkeys(names, value), 2.0)
    for seed, value in enumerate(values)
  ]


def test_differences_are_paired_and_in_percent():
  found = results("base", 10.0, 20.0, 40.0)
  found += results("b", 10.1, 20.4, 40.0) + results("c", 9.9, 19.8, 39.6)
  text = study_table.markdown(found, ["base", "b", "c"], "About")
  rows = {
    line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
    for line in text.splitlines()
    if line.startswith("| ") and "variant" not in line
  }
  assert rows["base"][0] == "0"
  # Gains 1, 2 and 0 %: mean 1, sd 1, t(2) = 4.303.
  assert rows["b"][:2] == ["+1.00 ± 2.48", "2/3"]
  assert rows["b"][2] == "0.225"
  assert rows["b"][4] == "+1.00"
  # A constant loss of 1 % is beyond doubt; Holm doubles the smaller p.
  assert rows["c"][:2] == ["-1.00 ± 0.00", "0/3"]
  assert text.startswith("About; 3 worlds.")


@pytest.mark.parametrize(
  ("word", "message"),
  [
    ("--only=fine-tunning", "--only=fine-tunning is no row of --set=ladder"),
    ("--only=", "--only= is no row of --set=ladder; its rows: 5 implicit, "),
    ("--data=hillstrom", "true outcomes are known on --data=simulated only"),
    ("--cache_folder=c", "--cache_folder is not read with --data=simulated"),
    ("--config.preset=smoke", "--config.preset is not read: give --preset"),
  ],
)
def test_a_study_refuses_what_it_would_not_read(tmp_path, word, message):
  folder = tmp_path / "run"
  done = run("study", f"--workdir={folder}", word, sizes=[])
  assert done.returncode == 1
  assert message in done.stderr and done.stderr.count("\n") == 1
  assert not folder.exists()


@pytest.mark.parametrize(
  ("word", "overrides", "message"),
  [
    ("--data=hillstrom", {}, "this table is made on --data=simulated only"),
    ("--data_path=h.csv", {}, "--data_path is not read with --data=simulated"),
    ("--budget=1", {}, "give no --budget: the price is 1.4"),
    ("--batch=100001", {}, "--batch=100001: the world has 100000 OBS rows"),
    ("", {"network.hidden": (4,)}, "network.hidden is not read: give --hidden"),
    ("", {"bilevel.n_cg": 5}, "bilevel.n_cg is not read: the table has"),
    ("", {"decision.rows": 9}, "decision.rows is not read: price and temp"),
  ],
)
def test_hypergradient_error_refuses_what_it_would_not_read(
  monkeypatch, word, overrides, message
):
  # --config.* flags exist only where a command line is parsed afresh.
  monkeypatch.setattr(common, "given_overrides", overrides.copy)
  with flagsaver.flagsaver(), pytest.raises(ValueError, match=message):
    flags.FLAGS(["hypergradient_error", *filter(None, [word])])
    hypergradient_error.settings()


def _untimed(text):
  """Returns a table's cells without the column of seconds."""
  rows = [line.split("|") for line in text.splitlines() if "|" in line]
  return [row[:8] + row[9:] for row in rows]


@pytest.mark.slow
def test_a_study_resumes_and_writes_its_table(tmp_path):
  folder = tmp_path / "study"
  flags = [
    "--set=ladder",
    "--only=fine-tuning,1 TSM-SL (RCT)",
    "--seeds=2",
    f"--workdir={folder}",
  ]
  first = run("study", *flags)
  assert first.returncode == 0, first.stderr
  lines = read_lines(folder / "metrics.jsonl")
  labels = [(line["method"], line["seed"]) for line in lines]
  assert labels.count(("fine-tuning", 1)) == 1
  assert (folder / "table.md").read_text() in first.stdout
  # As if killed in the second world.
  (folder / "result.json").unlink()
  kept = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)[:4]
  (folder / "metrics.jsonl").write_bytes(b"".join(kept))
  again = run("study", *flags)
  assert again.returncode == 0, again.stderr
  assert _untimed(again.stdout) == _untimed(first.stdout)


@pytest.mark.slow
def test_true_spend_of_two_prices():
  sizes = ["--preset=smoke", "--config.obs.epochs=20"]
  flags = ["--method=TSM-SL-OBS", "--seeds=2", "--shares=0.5,1"]
  done = run("deployment", *flags, sizes=sizes)
  assert done.returncode == 0, done.stderr
  cells = [line.split() for line in done.stdout.splitlines()[4:] if line]
  assert [row[:2] for row in cells] == [
    [share, way] for share in ("0.5", "1") for way in ("model", "rct")
  ]
  assert all(0.2 < float(row[2]) < 5 for row in cells)
