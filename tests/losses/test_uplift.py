"""DHCL's losses at their minima, found by a general solver."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from bidfcl_jax.losses.uplift import direct_roi_loss, marginal_roi_loss
from bidfcl_jax.types import Samples


def rows(arm, revenue, cost, weight=None):
  none = np.zeros((len(arm), 1))
  return Samples.create(none, arm, revenue, cost, weight=weight)


def test_two_arms_with_a_constant_score_give_their_return():
  samples = rows([0, 0, 1], [1.0, 3.0, 2.12], [0.1, 0.3, 0.6])
  # Effects .12 and .4; the treated are one row of three.
  grad = jax.grad(lambda s: direct_roi_loss(jnp.full(3, s), samples))
  s = scipy.optimize.brentq(lambda s: float(grad(s)), -5, 5)
  np.testing.assert_allclose(jax.nn.sigmoid(s), 0.300, atol=1e-5)


def test_two_arms_without_a_row_of_one_ask_for_nothing():
  samples = rows([1, 1], [1.0, 2.0], [1.0, 1.0])
  value, grad = jax.value_and_grad(direct_roi_loss)(jnp.ones(2), samples)
  assert value == 0
  np.testing.assert_array_equal(grad, 0)


def test_four_unequal_arms_give_half_their_marginal_returns():
  rng = np.random.default_rng(0)
  n, shares = 100_000, np.array([0.4, 0.3, 0.2, 0.1])
  arm = rng.choice(4, size=n, p=shares)
  r = np.concatenate([[1.0], 1.0 + np.cumsum([0.3, 0.2, 0.05])])
  c = np.concatenate([[0.2], 0.2 + np.cumsum([0.4, 0.5, 0.4])])
  samples = rows(arm, r[arm] + 0.05 * rng.normal(size=n), c[arm])
  counted = np.bincount(arm) / n

  @jax.jit
  def slope(q):
    return jax.grad(
      lambda q: marginal_roi_loss(
        jnp.broadcast_to(q, (n, 3)), samples, jnp.asarray(counted, float)
      )
    )(q)

  # The loss is a parabola in each q_k, so that two slopes give its minimum.
  at_0, at_1 = slope(jnp.zeros(3)), slope(jnp.ones(3))
  q = at_0 / (at_0 - at_1)
  np.testing.assert_allclose(q, [0.375, 0.2, 0.0625], atol=0.005)


def test_padding_counts_for_nothing():
  rng = np.random.default_rng(1)
  arm = np.array([0, 1, 2, 0, 1, 2])
  r, c = rng.normal(size=6), rng.uniform(size=6)
  q = jnp.asarray(rng.uniform(size=(6, 2)), jnp.float32)
  p = jnp.full(3, 1 / 3)
  weight = np.array([1, 1, 1, 0, 0, 0.0])
  padded = marginal_roi_loss(q, rows(arm, r, c, weight), p)
  short = marginal_roi_loss(q[:3], rows(arm[:3], r[:3], c[:3]), p)
  np.testing.assert_allclose(padded, short, rtol=1e-6)
  assert marginal_roi_loss(q, rows(arm, r, c, 0 * weight), p) == 0
