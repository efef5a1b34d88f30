"""Curvature products against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.bilevel.curvature import (
  damped,
  gauss_newton_product,
  hessian_product,
)

THETA = jnp.array([0.4, -0.7, 1.1])
PHI = jnp.array([0.5, 2.0])
V = jnp.array([1.0, -2.0, 0.5])


def residuals(theta, phi):
  return jnp.stack(
    [
      jnp.sin(theta[0] * theta[1]) - phi[0],
      jnp.exp(theta[2]) * theta[0] - phi[1],
      theta[1] ** 2 + 1.0,
    ]
  )


def lower(theta, phi):
  return jnp.sum(residuals(theta, phi) ** 2)


def test_hessian_product_is_the_dense_hessian():
  dense = jax.jit(jax.hessian(lower))(THETA, PHI) @ V
  got = hessian_product(lower, THETA, PHI)(V)
  np.testing.assert_allclose(got, dense, rtol=1e-5)


def test_fc_14_gauss_newton_is_twice_jtj_and_not_the_hessian():
  jacobian = jax.jit(jax.jacobian(residuals))(THETA, PHI)
  got = gauss_newton_product(residuals, THETA, PHI)(V)
  np.testing.assert_allclose(got, 2 * jacobian.T @ (jacobian @ V), rtol=1e-5)
  hessian = hessian_product(lower, THETA, PHI)(V)
  assert np.abs(got - hessian).max() > 0.1


def test_damping_adds_to_the_diagonal_of_every_leaf():
  product = damped(lambda v: jax.tree.map(lambda x: 3 * x, v), 0.5)
  got = product({"a": jnp.ones(2), "b": 2 * jnp.ones(())})
  np.testing.assert_allclose(got["a"], [3.5, 3.5])
  np.testing.assert_allclose(got["b"], 7.0)
