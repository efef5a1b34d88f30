import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.losses import (
  additive_cells,
  bridge_cells,
  cell_loss,
  factual_loss,
  weighted_cells,
)
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


@pytest.mark.parametrize("labels", ["stop_gradient", "full"])
def test_closed_gates_leave_the_factual_loss(labels):
  predicted, taught, samples, gates = problem(0.0)
  cells = bridge_cells(gates, taught, samples, labels=labels)
  value, slope = jax.value_and_grad(cell_loss)(predicted, cells, samples.weight)
  expected, wanted = jax.value_and_grad(factual_loss)(predicted, samples)
  assert value == pytest.approx(float(expected), rel=1e-5)
  np.testing.assert_allclose(slope.revenue, wanted.revenue, atol=1e-6)
  np.testing.assert_allclose(slope.cost, wanted.cost, atol=1e-6)


@pytest.mark.parametrize("labels", ["frozen_copy", "stop_gradient", "full"])
def test_open_gates_distil_the_teacher(labels):
  predicted, taught, samples, gates = problem(1.0)
  base, *_ = problem(0.3)
  cells = bridge_cells(gates, taught, samples, labels=labels, base=base)
  distance = (predicted.revenue - taught.revenue) ** 2
  distance += (predicted.cost - taught.cost) ** 2
  other = jax.nn.one_hot(samples.arm, M) == 0
  expected = factual_loss(predicted, samples)
  expected += jnp.sum(jnp.where(other, distance, 0.0)) / N
  value = cell_loss(predicted, cells, samples.weight)
  assert value == pytest.approx(float(expected), rel=1e-5)


def test_counterfactual_weight_and_known_cost_scale_their_cells():
  predicted, taught, samples, gates = problem(1.0)

  def loss(**options):
    cells = bridge_cells(gates, taught, samples, labels="full", **options)
    return float(cell_loss(predicted, cells, samples.weight))

  factual = float(factual_loss(predicted, samples))
  halved = factual + 0.5 * (loss() - factual)
  assert loss(counterfactual_weight=0.5) == pytest.approx(halved, rel=1e-5)
  alone = float(factual_loss(predicted, samples, learn_cost=False))
  assert loss(counterfactual_weight=0.0, learn_cost=False) == pytest.approx(
    alone, rel=1e-5
  )
  assert alone < factual


def test_padding_rows_change_nothing():
  predicted, taught, samples, gates = problem(0.4)
  padded = samples.replace(weight=samples.weight.at[5:].set(0.0))

  def loss(predicted, gates, taught, samples):
    cells = bridge_cells(gates, taught, samples, labels="stop_gradient")
    bridge = cell_loss(predicted, cells, samples.weight)
    return bridge + factual_loss(predicted, samples)

  data = (predicted, gates, taught, padded)
  cut = jax.tree.map(lambda x: x[:5], (predicted, gates, taught, samples))
  value, slope = jax.value_and_grad(loss)(*data)
  expected, wanted = jax.value_and_grad(loss)(*cut)
  assert value == pytest.approx(float(expected), rel=1e-5)
  np.testing.assert_allclose(slope.revenue[:5], wanted.revenue, rtol=1e-5)
  np.testing.assert_array_equal(slope.revenue[5:], 0)
  nobody = samples.replace(weight=jnp.zeros(N))
  assert loss(predicted, gates, taught, nobody) == 0


def test_saturated_gates_keep_the_bridges_gradient_finite():
  predicted, taught, samples, gates = problem(0.0)

  def loss(gates):
    cells = bridge_cells(gates, taught, samples, labels="stop_gradient")
    return cell_loss(predicted, cells, samples.weight)

  slope = jax.grad(loss)(gates)
  assert np.isfinite(slope.revenue).all()


def test_misuse_is_named():
  _, taught, samples, gates = problem(0.5)
  with pytest.raises(ValueError, match="base"):
    bridge_cells(gates, taught, samples, labels="frozen_copy")
  with pytest.raises(ValueError, match="not one of"):
    bridge_cells(gates, taught, samples, labels="soft")


def test_constant_weights_are_the_factual_loss():
  predicted, _, samples, _ = problem(0.4)
  cells = weighted_cells(
    jax.tree.map(lambda x: jnp.full_like(x, 0.3), predicted), samples
  )
  loss = cell_loss(predicted, cells, samples.weight)
  assert loss == pytest.approx(float(factual_loss(predicted, samples)))


def test_a_weight_counts_at_the_rows_own_arm_and_is_relative():
  predicted, _, samples, _ = problem(0.4)
  rng = np.random.default_rng(3)
  weights = jax.tree.map(
    lambda x: jnp.asarray(rng.uniform(0.5, 2, x.shape)), predicted
  )
  rows = np.arange(len(samples))
  own = np.asarray(weights.revenue)[rows, samples.arm]
  own = own / np.average(own, weights=samples.weight)
  error = np.asarray(predicted.revenue)[rows, samples.arm] - samples.revenue
  expected = np.average(own * error**2, weights=samples.weight)
  for scale in (1.0, 5.0):
    cells = weighted_cells(
      jax.tree.map(lambda x, s=scale: s * x, weights),
      samples,
      learn_cost=False,
    )
    loss = cell_loss(predicted, cells, samples.weight)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_additive_cells_read_no_outcome():
  predicted, *_ = problem(0.4)
  correction = jax.tree.map(lambda x: 0.1 + 0 * x, predicted)
  cells = additive_cells(correction, predicted, learn_cost=False)
  weight = jnp.ones(len(predicted.revenue))
  arms = predicted.revenue.shape[1]
  loss = cell_loss(predicted, cells, weight)
  assert loss == pytest.approx(arms * 0.01, rel=1e-4)
