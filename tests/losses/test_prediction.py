import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.losses import bridge_cells, cell_loss, factual_loss
from bidfcl_jax.types import Outcomes, Samples

N, M = 7, 3


def problem(gate):
  rng = np.random.default_rng(0)

  def pair():
    return Outcomes(*jnp.asarray(rng.normal(size=(2, N, M))))

  samples = Samples(
    jnp.zeros((N, 1)),
    jnp.asarray(rng.integers(0, M, N)),
    jnp.asarray(rng.normal(size=N)),
    jnp.asarray(rng.normal(size=N)),
  )
  gates = jax.tree.map(lambda x: jnp.full_like(x, gate), pair())
  return pair(), pair(), samples, gates


@pytest.mark.parametrize("labels", ["frozen_copy", "stop_gradient", "full"])
def test_gradient_of_each_reading(labels):
  predicted, taught, samples, gates = problem(0.4)
  cells = bridge_cells(gates, taught, samples, labels=labels, base=predicted)
  slope = jax.grad(cell_loss)(predicted, cells, samples.weight).revenue
  power = 2 if labels == "full" else 1
  expected = 2 / N * 0.4**power * (predicted.revenue - taught.revenue)
  rows = jnp.arange(N)
  own = predicted.revenue[rows, samples.arm] - samples.revenue
  expected = expected.at[rows, samples.arm].set(2 / N * own)
  np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_closed_gates_leave_the_factual_loss_and_open_ones_the_teacher():
  predicted, taught, samples, gates = problem(0.0)
  cells = bridge_cells(gates, taught, samples, labels="full")
  value = cell_loss(predicted, cells, samples.weight)
  assert value == pytest.approx(float(factual_loss(predicted, samples)))
  *_, gates = problem(1.0)
  cells = bridge_cells(gates, taught, samples, labels="full")
  expected = (
    factual_loss(predicted, samples)
    + jnp.sum(
      jnp.where(
        jax.nn.one_hot(samples.arm, M) > 0,
        0.0,
        (predicted.revenue - taught.revenue) ** 2
        + (predicted.cost - taught.cost) ** 2,
      )
    )
    / N
  )
  value = cell_loss(predicted, cells, samples.weight)
  assert value == pytest.approx(float(expected), rel=1e-5)


def test_misuse_is_named():
  _, taught, samples, gates = problem(0.5)
  with pytest.raises(ValueError, match="base"):
    bridge_cells(gates, taught, samples, labels="frozen_copy")
  with pytest.raises(ValueError, match="not one of"):
    bridge_cells(gates, taught, samples, labels="soft")
