"""A stage of a method that reads both sources, ready to step."""

import jax
import jax.numpy as jnp

from bidfcl_jax import methods
from bidfcl_jax.data.batches import epoch_order, part, take_block

KEY = jax.random.key(5)


def entered(name, study, config):
  """Returns stage, state, aux and a first block of a one-stage method."""
  method = methods.make(name, config)
  stage = method.stages[0]
  state = stage.enter(KEY, method.init(KEY, study), study)
  order = epoch_order(KEY, study, "pair", stage.batch)
  block = take_block(
    jax.tree.map(jnp.asarray, part(study, "pair")),
    jax.tree.map(lambda rows: rows[0], order),
  )
  return stage, state, stage.fixed(state, study), block


def emptied(block):
  """Returns the block with OBS rows of weight 0."""
  weight = 0 * block.samples.weight
  return block._replace(samples=block.samples.replace(weight=weight))


def with_costs(block, factor):
  """Returns the block with the costs of both sources times `factor`."""
  obs, rct = block.samples, block.rct
  return block._replace(
    samples=obs.replace(cost=factor * obs.cost),
    rct=rct.replace(cost=factor * rct.cost),
  )


def many_steps(stage, state, aux, block, steps):
  """Returns the state after `steps` steps on the same block."""

  @jax.jit
  def run(state):
    def one(state, _):
      return stage.step(KEY, state, block, aux)[0], None

    return jax.lax.scan(one, state, None, length=steps)[0]

  return run(state)


def doubled(tree):
  """Returns the tree with its floats in float64 (under x64)."""
  return jax.tree.map(
    lambda x: jnp.asarray(x, float if x.dtype.kind == "f" else x.dtype), tree
  )


def central_differences(function, point, *, step=1e-6):
  """Returns the gradient of a jitted scalar function by differences."""
  flat, back = jax.flatten_util.ravel_pytree(point)
  at = jax.jit(jax.vmap(lambda x: function(back(x))))
  shifts = step * jnp.eye(flat.size)
  return (at(flat + shifts) - at(flat - shifts)) / (2 * step)
