import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.data.batches import (
  batches_per_epoch,
  epoch_order,
  epoch_rows,
  part,
  take_block,
)

KEY = jax.random.key(1)


@pytest.mark.parametrize(
  ("rows", "batch", "period", "shape"),
  [
    (1000, 256, 1, (4, 1, 256)),
    (1000, 100, 4, (3, 4, 100)),
    (5, 8, 2, (1, 2, 8)),
  ],
)
def test_every_row_once_and_padding_last(rows, batch, period, shape):
  order = epoch_rows(KEY, rows, batch, period)
  assert order.shape == shape
  flat = order.ravel()
  assert sorted(flat[:rows]) == list(range(rows))
  assert (flat[rows:] == -1).all()


def test_order_is_a_function_of_the_key():
  one, two = epoch_rows(KEY, 300, 64), epoch_rows(KEY, 300, 64)
  other = epoch_rows(jax.random.key(2), 300, 64)
  np.testing.assert_array_equal(one, two)
  assert not np.array_equal(one, other)
  assert not np.array_equal(one.ravel()[:300], np.arange(300))


@pytest.mark.parametrize(
  ("rows", "batches"), [(1, 1), (256, 1), (257, 2), (1000, 4)]
)
def test_batches_that_hold_a_row(rows, batches):
  assert batches_per_epoch(rows, 256) == batches


def test_padding_weighs_nothing_and_rows_stay_together(tiny_study):
  weight = np.linspace(1, 2, len(tiny_study.obs)).astype(np.float32)
  samples = tiny_study.obs.replace(weight=weight)
  block = take_block(
    jax.tree.map(jnp.asarray, samples), jnp.array([[7, 3], [5, -1]])
  )
  np.testing.assert_array_equal(block.rows, [[7, 3], [5, 0]])
  np.testing.assert_array_equal(
    block.samples.weight, [[weight[7], weight[3]], [weight[5], 0]]
  )
  for name in ("features", "arm", "revenue", "cost", "group"):
    taken, whole = getattr(block.samples, name), getattr(samples, name)
    np.testing.assert_array_equal(taken[0], whole[[7, 3]])
    np.testing.assert_array_equal(taken[1, 0], whole[5])


def test_union_is_obs_then_rct_with_groups_apart(tiny_study):
  union = part(tiny_study, "union")
  n = len(tiny_study.obs)
  np.testing.assert_array_equal(union.cost[:n], tiny_study.obs.cost)
  np.testing.assert_array_equal(
    union.features[n:], tiny_study.rct_train.features
  )
  assert len(np.unique(union.group)) == len(union) == 900


def test_an_unknown_part_is_named(tiny_study):
  with pytest.raises(ValueError, match="reads='test' is not one of rct, obs"):
    part(tiny_study, "test")


def test_a_pair_reads_obs_once_and_cycles_the_rct(tiny_study):
  order = epoch_order(KEY, tiny_study, "pair", 128, 2)
  assert order.obs.shape == order.rct.shape == (3, 2, 128)
  assert sorted(order.obs.ravel()[:600]) == list(range(600))
  flat = order.rct.ravel()
  assert sorted(flat[:300]) == sorted(flat[300:600]) == list(range(300))
  block = take_block(
    jax.tree.map(jnp.asarray, part(tiny_study, "pair")),
    jax.tree.map(lambda rows: jnp.asarray(rows[-1]), order),
  )
  np.testing.assert_array_equal(
    block.samples.revenue[0], tiny_study.obs.revenue[order.obs[-1, 0]]
  )
  np.testing.assert_array_equal(
    block.rct.revenue, tiny_study.rct_train.revenue[order.rct[-1]]
  )
  assert (block.samples.weight[1] == 0).any()
  assert (block.rct.weight == 1).all()
