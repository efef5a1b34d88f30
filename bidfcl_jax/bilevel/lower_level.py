"""The lower level: k assumed gradient steps from a copied theta (Alg. 1)."""

from collections.abc import Callable
from typing import Any

import jax


def gradient_step(
  lower: Callable[[Any, Any], jax.Array], theta: Any, phi: Any, step_size
) -> Any:
  """Returns theta - step_size * d lower / dtheta."""
  slope = jax.grad(lower)(theta, phi)
  return jax.tree.map(lambda t, s: t - step_size * s, theta, slope)


def assumed_steps(
  lower: Callable[[Any, Any], jax.Array],
  theta: Any,
  phi: Any,
  *,
  steps: int,
  step_size: float,
) -> Any:
  """Returns theta* after `steps` plain gradient steps; 0 steps give theta."""

  def body(theta, _):
    return gradient_step(lower, theta, phi, step_size), None

  theta, _ = jax.lax.scan(body, theta, None, length=steps)
  return theta
