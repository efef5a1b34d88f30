"""Products with the lower level's curvature, never the matrix itself.

Each maker linearises once and returns v -> H v, so that the primal work is not
repeated in every iteration of a linear solver.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Product = Callable[[Any], Any]


def hessian_product(
  lower: Callable[[Any, Any], jax.Array], theta: Any, phi: Any
) -> Product:
  """Returns v -> (d2 lower / dtheta2) v at (theta, phi).

  An MLP's Hessian is indefinite away from a minimum: CG may meet negative
  curvature with it.
  """
  _, product = jax.linearize(lambda t: jax.grad(lower)(t, phi), theta)
  return product


def gauss_newton_product(
  residuals: Callable[[Any, Any], jax.Array], theta: Any, phi: Any
) -> Product:
  """Returns v -> 2 J'J v, J the Jacobian of the residuals in theta.

  With lower = sum(residuals**2) this is the Hessian without the residuals' own
  curvature: positive semi-definite.
  """
  primal, push = jax.linearize(lambda t: residuals(t, phi), theta)
  pull = jax.linear_transpose(push, theta)

  def product(v):
    (back,) = pull(push(v).astype(primal.dtype))
    return jax.tree.map(lambda leaf: 2 * leaf, back)

  return product


def damped(product: Product, damping) -> Product:
  """Returns v -> product(v) + damping v."""
  return lambda v: jax.tree.map(
    lambda a, b: a + jnp.asarray(damping, b.dtype) * b, product(v), v
  )
