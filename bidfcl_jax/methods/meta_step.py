"""A meta step: an upper loss on RCT rows, through one step on OBS rows (A.5).

Shared by the rivals that learn how to weigh OBS by what a virtual step
theta' = theta - eta grad_theta lower(theta, phi) does to the RCT error. The
total derivative in phi has two parts where the upper loss sees phi itself:

  d/dphi [ upper(theta'(phi)) + direct(phi) ]

The first is `bilevel.hypergradient` ("explicit"); the second is added to it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bidfcl_jax.bilevel import all_finite, hypergradient


def meta_gradient(
  lower: Callable[[Any, Any], jax.Array],
  upper: Callable[[Any], jax.Array],
  theta: Any,
  phi: Any,
  *,
  step_size: float,
  direct: Callable[[Any], jax.Array] | None = None,
) -> tuple[Any, jax.Array]:
  """Computes d/dphi [upper(theta'(phi)) + direct(phi)].

  Args:
    lower: (theta, phi) -> scalar on OBS rows.
    upper: theta' -> scalar on RCT rows.
    theta: the target before the virtual step.
    phi: meta parameters.
    step_size: eta, of plain gradient descent.
    direct: phi -> scalar, the part of the upper loss that reads phi; or None.

  Returns:
    (gradient like phi, whether all of it is finite).
  """
  gradient, info = hypergradient(
    lower, upper, theta, phi, solver="explicit", step_size=step_size
  )
  if direct is not None:
    gradient = jax.tree.map(jnp.add, gradient, jax.grad(direct)(phi))
  return gradient, info.accepted & all_finite(gradient)
