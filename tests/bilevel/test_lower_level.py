"""Assumed gradient steps against their closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.bilevel.lower_level import assumed_steps, gradient_step


def lower(theta, phi):
  return (theta["w"] - phi) ** 2 / 2


START, PHI = {"w": jnp.asarray(5.0)}, jnp.asarray(3.0)


def test_one_step_follows_the_slope():
  assert gradient_step(lower, START, PHI, 0.25)["w"] == pytest.approx(4.5)


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_steps_contract_geometrically(steps):
  end = assumed_steps(lower, START, PHI, steps=steps, step_size=0.25)
  assert end["w"] == pytest.approx(3.0 + 2.0 * 0.75**steps, rel=1e-6)
  assert START["w"] == 5.0


def test_the_steps_are_differentiable_in_phi():
  def end(phi):
    return assumed_steps(lower, START, phi, steps=4, step_size=0.25)["w"]

  np.testing.assert_allclose(jax.grad(end)(PHI), 1 - 0.75**4, rtol=1e-6)
