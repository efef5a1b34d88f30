"""What every decision loss must not react to: shifts and padding rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision_rows import rows

from bidfcl_jax import losses
from bidfcl_jax.types import Outcomes

LOSSES = {
  "ppl": lambda *d: losses.ppl(*d, price=0.4, temperature=0.5),
  "dpl": lambda *d: losses.dpl(*d, price=0.4, temperature=0.5),
  "pifd": lambda *d: losses.pifd(*d, price=0.4, gap_floor=0.1),
  "difd": lambda *d: losses.difd(
    *d, price=0.4, gap_floor=0.1, argmax="exact", multiplier="score"
  ),
  "window": lambda *d: losses.pifd(*d, price=0.4, gap_floor=0.1, window=0.5),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_on_all_arms_changes_no_gradient(name):
  outcomes, samples, share = rows(40, 3)
  shift = jnp.linspace(-2, 2, 40)[:, None]
  slope = jax.jit(jax.grad(LOSSES[name]))
  moved = Outcomes(outcomes.revenue + shift, outcomes.cost + shift)
  a, b = slope(outcomes, samples, share), slope(moved, samples, share)
  for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
    assert np.abs(left).max() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_padding_rows_change_nothing(name):
  outcomes, samples, share = rows(40, 3)
  whole = samples.replace(weight=jnp.repeat(jnp.array([1.0, 0.0]), 25)[:40])
  cut = jax.tree.map(lambda x: x[:25], (outcomes, samples))
  function = jax.jit(jax.value_and_grad(LOSSES[name]))
  value, gradient = function(outcomes, whole, share)
  expected, slope = function(*cut, share)
  assert value == pytest.approx(float(expected), rel=1e-5)
  np.testing.assert_allclose(
    gradient.revenue[:25], slope.revenue, rtol=1e-5, atol=1e-7
  )
  np.testing.assert_array_equal(gradient.revenue[25:], 0)
