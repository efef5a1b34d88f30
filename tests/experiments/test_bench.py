import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import measure


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


def run(script, *words):
  done = subprocess.run(
    [sys.executable, "-m", f"experiments.bench.{script}", *words],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


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
  rows = rows_of(
    "profile", "--shape=tiny", "--batches=20", "--changes=n_cg 1,n_cg 5"
  )
  assert set(rows) == {
    "TSM-SL", "full", "no bridge update (FROZEN)", "TSM-SL, rows read only",
    "n_cg 1", "n_cg 5",
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
