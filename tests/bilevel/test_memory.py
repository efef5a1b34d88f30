"""Field case 14: implicit differentiation does not store the inner steps."""

import jax
import jax.numpy as jnp

from bidfcl_jax.bilevel import assumed_steps, hypergradient

ROWS, UNITS = 512, 32
X = jax.random.normal(jax.random.key(0), (ROWS, UNITS))


def lower(theta, phi):
  return jnp.mean((jnp.tanh(X @ theta) - X @ phi) ** 2)


def upper(theta):
  return -jnp.mean(jnp.tanh(X @ theta))


def temporary_bytes(solver, steps):
  def through(theta, phi):
    if solver == "unrolled":
      return hypergradient(
        lower, upper, theta, phi, solver=solver, step_size=0.1, steps=steps
      )[0]
    end = assumed_steps(lower, theta, phi, steps=steps, step_size=0.1)
    return hypergradient(lower, upper, end, phi, solver=solver, damping=0.1)[0]

  theta = jnp.zeros((UNITS, UNITS))
  compiled = jax.jit(through).lower(theta, theta).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_fc_14_implicit_memory_does_not_grow_with_the_inner_steps():
  assert temporary_bytes("cg", 50) <= 1.2 * temporary_bytes("cg", 5)


def test_unrolled_memory_does_grow():
  assert temporary_bytes("unrolled", 50) > 3 * temporary_bytes("unrolled", 5)
