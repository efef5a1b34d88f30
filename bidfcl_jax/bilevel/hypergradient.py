"""The hypergradient of the decision loss in the bridge (method.md 4).

At theta*(phi) = argmin lower(., phi) the implicit function theorem gives

  d upper / dphi = - d/dphi < v, grad_theta lower(theta*, phi) >,
  (H + damping I) v = grad_theta upper(theta*)

with H the lower level's curvature, met through products alone. One word says
how v is found; every way has the same signature and the same diagnostics:

  "cg"               conjugate gradient on the full Hessian (the paper)
  "cg_gauss_newton"  on 2 J'J of the residuals: positive semi-definite
  "cg_normal"        on the squared Hessian, for indefinite ones
  "neumann"          a truncated Neumann series
  "identity"         v = g, Jacobian-free
  "explicit"         through one gradient step from theta (A.5)
  "unrolled"         through `steps` gradient steps, the tests' reference

Everything runs at the highest matmul precision: reduced products (bf16, TF32)
wreck CG.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bidfcl_jax.bilevel.curvature import (
  damped,
  gauss_newton_product,
  hessian_product,
)
from bidfcl_jax.bilevel.linear_solve import all_finite, linear_solve
from bidfcl_jax.bilevel.lower_level import assumed_steps, gradient_step
from bidfcl_jax.types import LinearInfo

IMPLICIT = ("cg", "cg_gauss_newton", "cg_normal", "neumann", "identity")
SOLVERS = (*IMPLICIT, "explicit", "unrolled")


def mixed_product(lower, theta: Any, phi: Any, v: Any) -> Any:
  """Returns - d/dphi < v, grad_theta lower(theta, phi) >, like phi."""

  def along_v(phi):
    _, tangent = jax.jvp(lambda t: lower(t, phi), (theta,), (v,))
    return -tangent

  return jax.grad(along_v)(phi)


def _exact(v: Any) -> LinearInfo:
  """The record of a way that solves no linear system."""
  return LinearInfo(
    solution=v,
    residual=jnp.zeros(()),
    iterations=jnp.asarray(0),
    converged=jnp.asarray(True),
    negative_curvature=jnp.asarray(False),
    finite=all_finite(v),
    accepted=all_finite(v),
  )


def _implicit(lower, upper, theta, phi, residuals, solver, damping, options):
  gauss_newton = solver == "cg_gauss_newton"
  if gauss_newton:
    if residuals is None:
      raise ValueError(
        "solver 'cg_gauss_newton' needs residuals(theta, phi), whose squares "
        "add up to lower"
      )
    product = gauss_newton_product(residuals, theta, phi)
  else:
    product = hessian_product(lower, theta, phi)
  info = linear_solve(
    damped(product, damping),
    jax.grad(upper)(theta),
    solver="cg" if gauss_newton else solver,
    semidefinite=gauss_newton,
    **options,
  )
  return mixed_product(lower, theta, phi, info.solution), info


def _unrolled(lower, upper, theta, phi, step_size, steps):
  def through(phi):
    end = assumed_steps(lower, theta, phi, steps=steps, step_size=step_size)
    return upper(end)

  grad_phi = jax.grad(through)(phi)
  return grad_phi, _exact(jax.tree.map(jnp.zeros_like, theta))


def _explicit(lower, upper, theta, phi, step_size):
  slope = jax.grad(upper)(gradient_step(lower, theta, phi, step_size))
  v = jax.tree.map(lambda leaf: step_size * leaf, slope)
  return mixed_product(lower, theta, phi, v), _exact(v)


def hypergradient(
  lower: Callable[[Any, Any], jax.Array],
  upper: Callable[[Any], jax.Array],
  theta: Any,
  phi: Any,
  *,
  residuals: Callable[[Any, Any], jax.Array] | None = None,
  solver: str = "cg",
  damping: float = 0.0,
  maxiter: int = 50,
  start: Any = None,
  max_residual: float = 1e3,
  step_size: float | None = None,
  steps: int = 1,
  diagnostics: str = "fast",
) -> tuple[Any, LinearInfo]:
  """Computes d upper(theta*(phi)) / dphi.

  Args:
    lower: (theta, phi) -> scalar, the prediction loss.
    upper: theta -> scalar, the decision loss; does not see phi.
    theta: theta*, a pytree; for "explicit" and "unrolled" the point before
      the step(s).
    phi: the bridge's parameters, a pytree.
    residuals: (theta, phi) -> array with lower = sum(residuals**2), weights
      and 1/n inside, so that Gauss-Newton is 2 J'J; "cg_gauss_newton" only.
      It may describe a sub-batch of lower's rows.
    solver: one of SOLVERS.
    damping: added to the curvature, in lower's units.
    maxiter: iterations (CG) or terms ("neumann").
    start: first guess of v (warm start), or None.
    max_residual: a solve with a larger relative residual is not accepted.
    step_size: of "explicit", "unrolled" and "neumann".
    steps: of "unrolled".
    diagnostics: "fast", or "full" to flag every direction of CG.

  Returns:
    (gradient like phi, LinearInfo). Where info.accepted is False the gradient
    is all 0 and the caller must keep phi and its optimiser state: a zero
    gradient would still move Adam.

  Raises:
    ValueError: unknown solver, or one that lacks residuals or step_size.
  """
  if solver not in SOLVERS:
    raise ValueError(f"solver {solver!r} is not one of {SOLVERS}")
  if solver in ("explicit", "unrolled") and step_size is None:
    raise ValueError(f"solver {solver!r} needs step_size")
  with jax.default_matmul_precision("highest"):
    if solver == "unrolled":
      gradient, info = _unrolled(lower, upper, theta, phi, step_size, steps)
    elif solver == "explicit":
      gradient, info = _explicit(lower, upper, theta, phi, step_size)
    else:
      options = dict(
        maxiter=maxiter,
        start=start,
        max_residual=max_residual,
        step_size=step_size,
        diagnostics=diagnostics,
      )
      gradient, info = _implicit(
        lower, upper, theta, phi, residuals, solver, damping, options
      )
  finite = info.finite & all_finite(gradient)
  info = info.replace(finite=finite, accepted=info.accepted & finite)
  gradient = jax.tree.map(lambda g: jnp.where(info.accepted, g, 0), gradient)
  return gradient, info
