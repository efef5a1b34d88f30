import json
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from bidfcl_jax import methods
from experiments.bench import measure, memory, profile, step, warmed


def test_matmul_flops_count_the_trips_of_loops():
  a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
  assert measure.matmul_flops(lambda a, b: jnp.tanh(a @ b), a, b) == 210

  def scanned(a, b):
    return jax.lax.scan(lambda c, _: (c + a @ b, None), a @ b, length=4)[0]

  assert measure.matmul_flops(scanned, a, b) == 210 * 5

  def until(a, b):
    return jax.lax.while_loop(
      lambda c: c[0, 0] < 20, lambda c: c + jax.jit(jnp.matmul)(a, b), a @ b
    )

  assert measure.matmul_flops(until, a, b, trips=6) == 210 * 7


def test_matmul_flops_of_conjugate_gradient():
  a, b = jnp.eye(3), jnp.ones(3)

  def solve(a, b):
    return jax.scipy.sparse.linalg.cg(lambda x: a @ x, b, maxiter=4)[0]

  # Scalar products count too: A x0, b'b and r'r first; A p, p'Ap and r'r in
  # each iteration.
  assert measure.matmul_flops(solve, a, b, trips=4) == 5 * (18 + 6 + 6)


def test_matmul_flops_of_a_batch_axis_and_of_a_gradient():
  a, b = jnp.ones((2, 3, 5)), jnp.ones((2, 5, 7))
  assert measure.matmul_flops(jnp.matmul, a, b) == 2 * 210
  loss = jax.grad(lambda b, a: jnp.sum((a @ b) ** 2))
  assert measure.matmul_flops(loss, b[0], a[0]) == 2 * 210


def test_rounds_call_each_function_once_a_round():
  calls = []
  runs = {name: lambda name=name: calls.append(name) for name in "ab"}
  seconds, first = measure.rounds(runs, 2)
  assert calls == ["a", "b"] * 3
  assert set(first) == {"a", "b"} and len(seconds["a"].wall) == 2
  assert measure.median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 4.0]) == 2.0


def start(*words):
  return subprocess.run(
    [sys.executable, *words], capture_output=True, text=True, check=False
  )


def run(script, *words):
  done = start("-m", f"experiments.bench.{script}", *words)
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


@pytest.mark.parametrize(
  ("script", "words", "message"),
  [
    ("allocation", ["--individuals=abc"], "--individuals=abc: give whole"),
    ("allocation", ["--share=-1"], "--share=-1: give a positive number"),
    ("seeds", ["--method=FOO"], "flag --method=FOO: value should be one of"),
    ("peers", [f"--script={__file__}", "--core=999"], "--core=999: this proc"),
    ("allocate_rows", ["--workdir=x", "runs"], "stray words ['runs']"),
  ],
)
def test_a_bench_names_the_flag_at_fault_without_a_trace(
  script, words, message
):
  done = start("-m", f"experiments.bench.{script}", *words)
  assert done.returncode != 0
  assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("script", "word", "message"),
  [
    (memory, "--memory_steps=x", "--memory_steps=x: give whole numbers"),
    (step, "--n_cg=5,0", "--n_cg=0: give whole numbers of at least 1"),
    (step, "--solvers=cgg", "--solvers=cgg is unknown; known: cg"),
    (step, "--recipes=quick", "--recipes=quick is unknown; known: recom"),
    (step, "--batches=7", "--batches=7: recommended trains in blocks of 5"),
    (profile, "--changes=n_cg 4", "--changes=n_cg 4 is unknown; known: no as"),
  ],
)
def test_flags_of_a_bench_are_checked_before_a_world_is_drawn(
  monkeypatch, script, word, message
):
  world = mock.Mock()
  monkeypatch.setattr(script, "simulated", world)
  with flagsaver.flagsaver(), pytest.raises(ValueError, match=message):
    flags.FLAGS(["bench", word])
    script.main()
  assert not world.called


def test_profile_by_default_times_whole_blocks_of_every_row(monkeypatch):
  shown = []

  def last_stage(method, config, warmed, batches, edit):
    del warmed, edit
    assert batches % methods.make(method, config).stages[-1].period == 0
    return mock.Mock()

  def rounds(runs, repeats):
    del repeats
    return dict.fromkeys(runs, measure.Seconds([1.0], [1.0])), {}

  for name in ("simulated", "warm"):
    monkeypatch.setattr(profile, name, mock.Mock())
  monkeypatch.setattr(profile, "last_stage", last_stage)
  monkeypatch.setattr(profile, "rounds", rounds)
  monkeypatch.setattr(profile, "publish", lambda *args: shown.append(args))
  for shape in warmed.SHAPES:
    with flagsaver.flagsaver():
      flags.FLAGS(["profile", f"--shape={shape}"])
      profile.main()
    caption, lines = shown.pop()
    assert "rounds of 20 batches" in caption
    names = {line["recommended"] for line in lines}
    assert {"upper_every 20", "rows 2,000 + every 10"} <= names


def test_a_call_longer_than_an_epoch_meets_its_blocks_again():
  config = warmed.shape_config("tiny", "recommended", bilevel__upper_every=20)
  study, key = warmed.simulated(config), jax.random.key(0)
  state = methods.make("Bi-DFCL-PPL", config).init(key, study)
  ready = warmed.Warmed(study, state, key)
  epoch = warmed.last_stage("Bi-DFCL-PPL", config, ready, 60)
  rows = np.asarray(epoch.args[1])
  assert epoch.of_epoch == 40 and rows.shape[:2] == (3, 20)
  np.testing.assert_array_equal(rows[2], rows[0])
  with pytest.raises(ValueError, match="30 batches are not whole blocks of 20"):
    warmed.last_stage("Bi-DFCL-PPL", config, ready, 30)


def test_first_seconds_of_a_step_hold_its_tracing(monkeypatch):
  traced, before, shown = [], [], []

  def scan(x):
    traced.append(x)
    return x, x @ x

  epoch = warmed.Epoch(jax.jit(scan), (), jnp.ones((2, 2)), None, 1)
  config = warmed.shape_config("tiny", "recommended")
  row = step.Row("TSM-SL-BOTH", config, None, "TSM-SL")

  def rounds(runs, repeats):
    before.extend(traced)
    return measure.rounds(runs, repeats)

  monkeypatch.setattr(step, "table_rows", lambda shape: {"TSM-SL": row})
  monkeypatch.setattr(step, "last_stage", lambda *args: epoch)
  monkeypatch.setattr(step, "rounds", rounds)
  monkeypatch.setattr(step, "publish", lambda *args: shown.append(args))
  with flagsaver.flagsaver():
    flags.FLAGS(["step", "--noquality", "--repeats=1", "--peak=2"])
    step.main()
  assert not before and len(traced) == 1
  assert shown[0][1][0]["FLOPs x"] == 1


COUNTED = """
from absl import flags
from experiments.bench import allocation, evaluation

calls = []


def count(module, name):
  plain = getattr(module, name)
  setattr(module, name, lambda *a, **k: calls.append(name) or plain(*a, **k))


count(allocation, "solve")
count(evaluation, "bootstrap")
sizes = ["--individuals=50", "--rows=200", "--replicates=2"]
flags.FLAGS(["", "--repeats=2", "--bootstraps=3", *sizes])
allocation.main()
evaluation.main()
print(calls.count("solve"), calls.count("bootstrap"))
"""


def test_allocation_and_bootstrap_are_called_once_before_the_rounds():
  # In a process of its own: two scripts' flags have names of the commands'.
  done = start("-c", COUNTED)
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == "3 4"


def rows_of(script, *words):
  *table, line = run(script, "--repeats=1", *words)
  found = json.loads(line)
  assert any(text.startswith("|") for text in table)
  assert found["machine"]["cores"] >= 1
  return {next(iter(row.values())): row for row in found["rows"]}


@pytest.mark.slow
def test_step_gives_ratios_flops_and_cosines():
  rows = rows_of(
    "step", "--shape=tiny", "--peak=64", "--recipes=", "--n_cg=5,50",
    "--solvers=cg_gauss_newton,explicit",
  )  # fmt: skip
  assert rows["TSM-SL"]["x TSM-SL"] == rows["TSM-SL"]["FLOPs x"] == 1
  assert np.isnan(rows["FROZEN"]["cos GN"])
  few, many = rows["cg_gauss_newton 5"], rows["cg_gauss_newton 50"]
  assert 1 < few["FLOPs x"] < many["FLOPs x"]
  assert many["residual"] < few["residual"]
  assert few["cos GN"] < many["cos GN"] <= 1.0001
  assert rows["cg_gauss_newton 300"]["cos GN"] == pytest.approx(1, abs=1e-5)
  assert rows["explicit"]["FLOPs x"] > few["FLOPs x"]


@pytest.mark.slow
def test_profile_changes_one_thing_at_a_time():
  rows = rows_of("profile", "--shape=tiny", "--changes=n_cg 1,upper_every 20")
  assert set(rows) == {
    "TSM-SL", "full", "no bridge update (FROZEN)", "TSM-SL, rows read only",
    "n_cg 1", "upper_every 20",
  }  # fmt: skip
  assert rows["full"]["saved"] == 0
  assert rows["TSM-SL, rows read only"]["x TSM-SL"] < 1


@pytest.mark.slow
def test_fc_14_memory_of_the_block_does_not_grow_with_the_assumed_steps():
  rows = rows_of(
    "memory", "--shape=tiny", "--memory_batches=60", "--memory_widths=8",
    "--memory_steps=1,20", "--memory_n_cg=5",
  )  # fmt: skip
  assert rows["k 20"]["MB"] < 1.05 * rows["k 1"]["MB"]
  assert rows["unrolled, k 20"]["MB"] > 1.5 * rows["unrolled, k 1"]["MB"]


@pytest.mark.slow
def test_seeds_at_once_and_in_turn():
  rows = rows_of("seeds", "--shape=tiny", "--seed_counts=1,2")
  assert rows[2]["in turn, s"] > rows[1]["in turn, s"]


@pytest.mark.slow
def test_evaluation_agrees_with_plain_numpy():
  rows = rows_of("evaluation", "--rows=20000", "--replicates=20")
  plain = rows["AUCC, plain NumPy"]["value"]
  assert rows["AUCC"]["value"] == pytest.approx(plain, abs=2e-3)


@pytest.mark.slow
def test_allocation_takes_several_sizes():
  lines = run("allocation", "--individuals=2000", "--arms=3,5", "--repeats=1")
  sizes = [(x["individuals"], x["arms"]) for x in map(json.loads, lines)]
  assert sizes == [(2000, 3), (2000, 5)]
