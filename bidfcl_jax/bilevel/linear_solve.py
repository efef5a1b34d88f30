"""Solves (H + damping I) v = g with H as a product, and says how well.

Differences from a bare `jax.scipy.sparse.linalg.cg`:
1. the right-hand side is scaled to unit norm (hypergradients are small enough
   to underflow in float32) and the solution scaled back;
2. the relative residual is evaluated afresh, since JAX's cg returns no status;
3. a flag for p'Hp <= 1e-6 |p||Hp| at g, v and the residual vector; with
   diagnostics="full" the recurrence is replayed and every direction looked at;
4. nothing is raised: the caller reads `accepted` (finite, residual at most
   max_residual) and keeps its parameters where it is False.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.scipy.sparse.linalg import cg

from bidfcl_jax.losses.value import safe_ratio
from bidfcl_jax.types import LinearInfo

SOLVERS = ("cg", "cg_normal", "neumann", "identity")
CONVERGED = 0.1


def _combine(a: Any, scale: jax.Array, b: Any) -> Any:
  """Returns a + scale * b, leaf by leaf, in the leaves' dtype."""
  return jax.tree.map(lambda x, y: x + scale.astype(x.dtype) * y, a, b)


def all_finite(tree: Any) -> jax.Array:
  """Returns whether every leaf is finite."""
  leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
  return jnp.all(jnp.stack(leaves))


def _flat_or_down(p: Any, product_p: Any) -> jax.Array:
  """Whether the curvature along p is not clearly positive."""
  curvature = optax.tree.vdot(p, product_p)
  scale = optax.tree.norm(p) * optax.tree.norm(product_p)
  return (optax.tree.norm(p) > 0) & (curvature <= 1e-6 * scale)


def _replayed_flag(product, g: Any, start: Any, steps: int) -> jax.Array:
  """Runs CG's recurrence again and flags any direction of it."""
  residual = jax.tree.map(jnp.subtract, g, product(start))

  def body(carry, _):
    residual, p, flag = carry
    product_p = product(p)
    flag |= _flat_or_down(p, product_p)
    square = optax.tree.vdot(residual, residual)
    alpha = safe_ratio(square, optax.tree.vdot(p, product_p))
    new = _combine(residual, -alpha, product_p)
    beta = safe_ratio(optax.tree.vdot(new, new), square)
    return (new, _combine(new, beta, p), flag), None

  carry = (residual, residual, jnp.asarray(False))
  (_, _, flag), _ = jax.lax.scan(body, carry, None, length=steps)
  return flag


def _neumann(product, g: Any, step_size, terms: int) -> Any:
  """step_size * sum_{k <= terms} (I - step_size H)^k g."""

  def body(_, carry):
    total, term = carry
    term = _combine(term, jnp.asarray(-step_size), product(term))
    return _combine(total, jnp.asarray(1.0), term), term

  total, _ = jax.lax.fori_loop(0, terms, body, (g, g))
  return jax.tree.map(lambda leaf: leaf * step_size, total)


def linear_solve(
  product: Callable[[Any], Any],
  g: Any,
  *,
  solver: str = "cg",
  maxiter: int = 50,
  start: Any = None,
  max_residual: float = 1e3,
  step_size: float | None = None,
  semidefinite: bool = False,
  diagnostics: str = "fast",
) -> LinearInfo:
  """Solves product(v) = g.

  Args:
    product: v -> A v, A symmetric (damping inside).
    g: right-hand side, a pytree.
    solver: "cg"; "cg_normal" (CG on A'A v = A'g, for indefinite A); "neumann"
      (maxiter terms with step_size); "identity" (v = g, Jacobian-free).
    maxiter: iterations or terms.
    start: first guess of v, or None for 0.
    max_residual: above it the solve is not accepted.
    step_size: of "neumann".
    semidefinite: True where A cannot have negative curvature by construction.
    diagnostics: "fast" or "full" (replays CG and flags every direction).

  Returns:
    LinearInfo; g = 0 gives v = 0 with residual 0.

  Raises:
    ValueError: unknown solver, or "neumann" without step_size.
  """
  if solver not in SOLVERS:
    raise ValueError(f"solver {solver!r} is not one of {SOLVERS}")
  norm = optax.tree.norm(g)
  zero = norm == 0
  safe_norm = jnp.where(zero, 1.0, norm)
  unit = jax.tree.map(lambda leaf: leaf / safe_norm.astype(leaf.dtype), g)
  origin = jax.tree.map(jnp.zeros_like, g)
  if start is not None:
    origin = jax.tree.map(lambda leaf: leaf / safe_norm, start)
    origin = jax.tree.map(lambda leaf: jnp.where(zero, 0.0, leaf), origin)
  tolerance = 10 * float(jnp.finfo(safe_norm.dtype).eps)

  if solver == "identity":
    solution, iterations = unit, 0
  elif solver == "neumann":
    if step_size is None:
      raise ValueError("solver 'neumann' needs step_size")
    solution, iterations = _neumann(product, unit, step_size, maxiter), maxiter
  elif solver == "cg_normal":
    solution, _ = cg(
      lambda v: product(product(v)),
      product(unit),
      x0=origin,
      tol=tolerance,
      maxiter=maxiter,
    )
    iterations = maxiter
  else:
    solution, _ = cg(product, unit, x0=origin, tol=tolerance, maxiter=maxiter)
    iterations = maxiter

  product_v = product(solution)
  left = jax.tree.map(jnp.subtract, unit, product_v)
  residual = jnp.where(zero, 0.0, optax.tree.norm(left))
  if semidefinite:
    negative = jnp.asarray(False)
  else:
    negative = (
      _flat_or_down(unit, product(unit))
      | _flat_or_down(solution, product_v)
      | _flat_or_down(left, product(left))
    )
    if diagnostics == "full":
      negative |= _replayed_flag(product, unit, origin, maxiter)
  solution = jax.tree.map(lambda leaf: leaf * norm.astype(leaf.dtype), solution)
  finite = all_finite(solution) & jnp.isfinite(residual)
  # A later solve may begin at this one, and means are taken of residuals.
  solution = jax.tree.map(lambda leaf: jnp.where(finite, leaf, 0), solution)
  residual = jnp.where(finite, residual, jnp.inf)
  return LinearInfo(
    solution=solution,
    residual=residual,
    iterations=jnp.asarray(iterations),
    converged=residual <= CONVERGED,
    negative_curvature=negative,
    finite=finite,
    accepted=finite & (residual <= max_residual),
  )
