"""The linear solve and its report against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.bilevel.curvature import damped
from bidfcl_jax.bilevel.linear_solve import all_finite, linear_solve

MATRIX = jnp.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])
RIGHT = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}
DENSE = np.linalg.solve(np.asarray(MATRIX), [1.0, -2.0, 0.5])


def flat(tree):
  return jnp.concatenate([tree["a"], tree["b"]])


def product(tree):
  out = MATRIX @ flat(tree)
  return {"a": out[:2], "b": out[2:]}


@pytest.mark.parametrize("solver", ["cg", "cg_normal", "neumann"])
def test_pytrees_are_solved_as_the_dense_system(solver):
  info = linear_solve(product, RIGHT, solver=solver, maxiter=200, step_size=0.2)
  np.testing.assert_allclose(flat(info.solution), DENSE, rtol=1e-4)
  assert info.residual < 1e-5
  assert info.converged and info.accepted and not info.negative_curvature


def test_neumann_is_the_truncated_series():
  info = linear_solve(
    product, RIGHT, solver="neumann", maxiter=2, step_size=0.2
  )
  keep = np.eye(3) - 0.2 * np.asarray(MATRIX)
  expected = 0.2 * (np.eye(3) + keep + keep @ keep) @ np.asarray(flat(RIGHT))
  np.testing.assert_allclose(flat(info.solution), expected, rtol=1e-5)


def test_identity_returns_the_right_hand_side_and_its_true_residual():
  info = linear_solve(product, RIGHT, solver="identity")
  g = np.asarray(flat(RIGHT))
  np.testing.assert_allclose(flat(info.solution), g, rtol=1e-6)
  left = np.linalg.norm(MATRIX @ g - g) / np.linalg.norm(g)
  assert info.residual == pytest.approx(left, rel=1e-5)


@pytest.mark.parametrize("size", [1e-18, 1e18])
def test_tiny_and_huge_right_hand_sides_keep_their_digits(size):
  scaled = jax.tree.map(lambda leaf: leaf * size, RIGHT)
  info = linear_solve(product, scaled)
  np.testing.assert_allclose(flat(info.solution) / size, DENSE, rtol=1e-4)


def test_a_warm_start_at_the_solution_needs_one_step():
  start = {"a": jnp.asarray(DENSE[:2]), "b": jnp.asarray(DENSE[2:])}
  start = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start)
  warm = linear_solve(product, RIGHT, maxiter=1, start=start)
  cold = linear_solve(product, RIGHT, maxiter=1)
  assert warm.residual < 1e-5 < cold.residual


def solve_diagonal(diagonal, g=None, **options):
  d = jnp.asarray(diagonal)
  g = jnp.ones(d.shape) if g is None else g
  return linear_solve(lambda v: d * v, g, **options)


@pytest.mark.parametrize("diagonal", [(1.0, -1.0), (1.0, 0.0)])
def test_fc_13_singular_directions_are_not_accepted(diagonal):
  info = solve_diagonal(diagonal)
  assert not info.accepted
  assert not info.converged


def test_fc_13_negative_curvature_is_flagged_though_the_residual_is_zero():
  info = solve_diagonal((1.0, -2.0))
  assert info.residual < 1e-5
  assert info.negative_curvature and info.converged and info.accepted


def test_fc_13_damped_indefinite_matrix():
  d = jnp.array([1.0, -1.0])
  info = linear_solve(damped(lambda v: d * v, 2.0), jnp.ones(2))
  np.testing.assert_allclose(info.solution, [1 / 3, 1.0], rtol=1e-5)
  assert not info.negative_curvature


def test_fc_13_spread_spectrum_reports_its_residual():
  info = solve_diagonal(jnp.logspace(0, 6, 50), maxiter=50)
  assert not info.converged
  assert info.residual > 0.5


def test_fc_13_zero_right_hand_side_gives_zero():
  for solver in ("cg", "cg_normal", "identity"):
    info = solve_diagonal((1.0, 2.0), jnp.zeros(2), solver=solver)
    np.testing.assert_array_equal(info.solution, 0)
    assert info.residual == 0 and info.accepted


def test_full_diagnostics_flag_a_direction_met_on_the_way():
  # g and v themselves see positive curvature.
  diagonal, g = (10.0, 1.0, -0.5), jnp.array([1.0, 1.0, 0.2])
  full = solve_diagonal(diagonal, g, maxiter=3, diagnostics="full")
  assert full.negative_curvature
  benign = solve_diagonal((3.0, 2.0, 1.0), g, maxiter=3, diagnostics="full")
  assert not benign.negative_curvature


def test_a_residual_above_the_limit_is_not_accepted():
  info = solve_diagonal((1.0, 50.0), maxiter=1, max_residual=1e-3)
  assert info.finite and not info.accepted


def test_all_finite_looks_at_every_leaf():
  assert all_finite(RIGHT)
  assert not all_finite({**RIGHT, "c": jnp.array([0.0, jnp.nan])})


def test_unknown_solvers_and_missing_steps_are_refused():
  with pytest.raises(ValueError, match="'lu' is not one of"):
    linear_solve(product, RIGHT, solver="lu")
  with pytest.raises(ValueError, match="step_size"):
    linear_solve(product, RIGHT, solver="neumann")
