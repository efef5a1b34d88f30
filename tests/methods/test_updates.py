import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.config import SourceConfig
from bidfcl_jax.methods.method import Scale, State
from bidfcl_jax.methods.updates import (
  guarded_update,
  learning_rate,
  make_optimiser,
)


@pytest.mark.parametrize(
  ("loss", "slope", "weight", "moved", "skipped"),
  [
    (1.0, 2.0, 1.0, True, 0),
    (1.0, np.nan, 1.0, False, 1),
    (np.nan, 2.0, 1.0, False, 1),
    (1.0, np.inf, 1.0, False, 1),
    (1.0, 2.0, 0.0, False, 0),
  ],
)
def test_fc_16_loss_and_gradient_are_both_checked(
  loss, slope, weight, moved, skipped
):
  source = SourceConfig(learning_rate=0.1, weight_decay=0.0)
  target = {"w": jnp.ones(3)}
  state = State(
    step=jnp.zeros((), jnp.int32),
    target=target,
    optimiser=make_optimiser(source).init(target),
    scale=Scale(jnp.ones(()), jnp.ones(())),
  )
  new, metrics = guarded_update(
    state,
    jnp.asarray(loss),
    {"w": jnp.array([1.0, slope, 1.0])},
    jnp.array([weight, weight]),
    source,
    jnp.asarray(10),
  )
  assert metrics["skipped"] == skipped
  if moved:
    np.testing.assert_allclose(new.target["w"], 0.9, rtol=1e-5)
    assert new.step == 1
  else:
    chex.assert_trees_all_equal(new, state)


def test_cosine_schedule_ends_at_zero():
  source = SourceConfig(learning_rate=2.0, schedule="cosine")
  rates = [learning_rate(source, jnp.asarray(k), 10) for k in (0, 5, 10)]
  np.testing.assert_allclose(jax.device_get(rates), [2, 1, 0], atol=1e-6)
