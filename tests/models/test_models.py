import jax
import numpy as np
import pytest

from bidfcl_jax import config
from bidfcl_jax.models import make_bridge, make_target
from bidfcl_jax.models.chunks import apply_in_chunks


@pytest.mark.parametrize("hidden", [(64, 32, 32), (128, 64, 32), ()])
def test_heads_are_revenues_then_costs(hidden):
  network = make_target(config.NetworkConfig(hidden=hidden))
  params = network.init(jax.random.key(0), 6, 4)
  params["head"]["bias"] = np.arange(8, dtype=np.float32)
  params["head"]["kernel"] = 0 * params["head"]["kernel"]
  out = network.apply(params, np.ones((3, 6), np.float32))
  np.testing.assert_array_equal(out.revenue, [[0, 1, 2, 3]] * 3)
  np.testing.assert_array_equal(out.cost, [[4, 5, 6, 7]] * 3)


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_gates_start_where_told(start):
  bridge = make_bridge(
    config.BilevelConfig(gate_start=start, bridge_last_scale=0.0),
    config.NetworkConfig(),
  )
  params = bridge.init(jax.random.key(0), 5, 3)
  gates = bridge.apply(params, np.ones((2, 5), np.float32))
  np.testing.assert_allclose(gates.revenue, 1 / (1 + np.exp(-start)), rtol=1e-6)


def test_chunks_change_nothing():
  network = make_target(config.NetworkConfig())
  params = network.init(jax.random.key(0), 5, 3)
  x = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
  whole = network.apply(params, x)
  parts = apply_in_chunks(network.apply, params, x, chunk=20)
  np.testing.assert_allclose(parts.cost, whole.cost, rtol=1e-5, atol=1e-6)
  assert parts.revenue.shape == (103, 3)


@pytest.mark.parametrize("hidden", [(7, 4), ()])
def test_the_head_acts_on_the_representation(hidden):
  network = make_target(config.NetworkConfig(hidden=hidden))
  params = network.init(jax.random.key(0), 5, 3)
  x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
  units = network.represent(params, x)
  assert units.shape == (9, hidden[-1] if hidden else 5)
  head = units @ params["head"]["kernel"] + params["head"]["bias"]
  out = network.apply(params, x)
  np.testing.assert_allclose(head[:, :3], out.revenue, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(head[:, 3:], out.cost, rtol=1e-5, atol=1e-6)
