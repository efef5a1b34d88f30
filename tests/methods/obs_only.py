"""What the tests of the OBS-only rivals share: a hard study and one batch."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax import methods, training
from bidfcl_jax.data.batches import epoch_rows, take_block
from bidfcl_jax.methods.method import to_scaled

KEY = jax.random.key(3)


def sparse_study(study):
  """Returns the study with 3 OBS rows of arm 3 and none of the last arm."""
  rare = np.flatnonzero(study.obs.arm == 3)
  kept = (study.obs.arm < 3) | np.isin(np.arange(len(study.obs)), rare[:3])
  return study.replace(obs=jax.tree.map(lambda leaf: leaf[kept], study.obs))


def fitted(name, study, config):
  """Returns (method, state, history) after the check that all is finite."""
  method = methods.make(name, config)
  state, history = training.fit(method, study, KEY, config)
  predicted = method.predict(state, study.rct_test.features)
  for cells in (predicted.revenue, predicted.cost):
    assert cells.shape == (len(study.rct_test), study.arms)
    assert np.isfinite(cells).all()
  for line in history:
    assert line["skipped"] == 0
    numbers = [value for value in line.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all(), line
  return method, state, history


def one_batch(stage, state, study):
  """Returns (jitted step of one block, a block) of a stage on OBS."""
  aux = stage.fixed(state, study)
  order = epoch_rows(KEY, len(study.obs), stage.batch, stage.period)[0]
  block = take_block(jax.tree.map(jnp.asarray, study.obs), jnp.asarray(order))
  step = jax.jit(stage.step)
  return (lambda state, block: step(KEY, state, block, aux)), block


def first_step(stage, state, study):
  """Returns (state after one batch, its samples in scaled units, its rows)."""
  step, block = one_batch(stage, state, study)
  after, _ = step(state, block)
  samples, rows = jax.tree.map(lambda x: x[0], (block.samples, block.rows))
  return after, to_scaled(samples, state.scale), rows


def assert_equal(a, b):
  chex.assert_trees_all_equal(
    jax.tree.map(np.asarray, a), jax.tree.map(np.asarray, b)
  )


def assert_empty_batch_changes_nothing(stage, state, study):
  step, block = one_batch(stage, state, study)
  samples = block.samples
  empty = samples.replace(weight=jnp.zeros_like(samples.weight))
  after, metrics = step(state, block._replace(samples=empty))
  assert_equal(state, after)
  assert not metrics["skipped"].any()


def assert_known_costs_teach_nothing(stage, state, study):
  known = np.arange(study.arms, dtype=np.float64)
  scale = dataclasses.replace(state.scale, known_cost=jnp.asarray(known, float))
  state = state.replace(scale=scale)
  step, block = one_batch(stage, state, study)
  wild = block.samples.replace(cost=100 * block.samples.cost + 7)
  one, _ = step(state, block)
  two, _ = step(state, block._replace(samples=wild))
  assert_equal(one, two)
