import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.losses import policy_loss
from bidfcl_jax.types import Outcomes, Samples


def test_fc_02_shares_are_counted_over_all_rows():
  arm = [0, 0, 0, 2, 1, 2]
  np.testing.assert_allclose(counted_propensity(arm, 3), (3 / 6, 1 / 6, 2 / 6))
  # A padded row counts for nothing.
  np.testing.assert_allclose(
    counted_propensity(arm, 3, weight=[1, 1, 0, 1, 1, 0]), (0.5, 0.25, 0.25)
  )


def test_fc_02_arm_without_a_row_is_refused_by_name():
  with pytest.raises(ValueError, match="no randomised row of arm mail"):
    counted_propensity([0, 2], 3, names=("none", "mail", "call"))
  with pytest.raises(ValueError, match="no randomised row of arm 1"):
    counted_propensity([0, 1], 2, weight=[1, 0])
  with pytest.raises(ValueError, match="from 0 to 2, but 2 arms"):
    counted_propensity([0, 2], 2)


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ((1.0, 0.0), "each be above 0"),
    ((0.5, 0.4), "add up to 0.9"),
    ((0, 1, 1, 0, 1), "one share per arm"),
    ((float("nan"), 1.0), "each be above 0"),
  ],
)
def test_fc_02_declared_shares_that_cannot_be_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    declared_propensity(values, 2)
  np.testing.assert_allclose(declared_propensity((0.85, 0.15), 2), (0.85, 0.15))


def test_fc_02_mean_of_batch_losses_is_the_loss_of_all_rows():
  rng = np.random.default_rng(0)
  n, size = 1000, 8
  arm = rng.permutation(np.repeat((0, 1), (850, 150)))
  samples = Samples.create(
    np.zeros((n, 1)), arm, rng.gamma(2.0, size=n), arm * 1.0
  )
  predicted = jnp.asarray(rng.normal(size=(n, 2)), jnp.float32)
  shares = jnp.asarray(counted_propensity(arm, 2), jnp.float32)

  def loss(revenue, part):
    outcomes = Outcomes(revenue, jnp.zeros_like(revenue))
    return policy_loss(outcomes, part, shares, price=0.0, temperature=1.0)

  whole = loss(predicted, samples)
  batches = jax.tree.map(
    lambda x: x.reshape(n // size, size, *x.shape[1:]), (predicted, samples)
  )
  losses, gradients = jax.vmap(jax.value_and_grad(loss))(*batches)
  without = (batches[1].arm == 0).all(axis=1)
  assert 20 < without.sum() < 50
  assert np.isfinite(losses).all() and np.isfinite(gradients).all()
  mean = np.mean(np.asarray(losses, np.float64))
  np.testing.assert_allclose(mean, whole, rtol=1e-6)
