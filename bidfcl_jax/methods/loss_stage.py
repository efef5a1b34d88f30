"""A stage whose loss is all that sets it apart from TSM-SL.

Rivals of baselines.md 3 and 6 train the same network on the same batches with
the same guarded Adam; each brings a loss of its own.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bidfcl_jax.config import SourceConfig
from bidfcl_jax.methods.method import Stage, to_scaled
from bidfcl_jax.methods.updates import guarded_update


def loss_stage(
  source: SourceConfig,
  loss: Callable,
  *,
  apply: Callable,
  enter: Callable,
  fixed: Callable,
  name: str = "obs",
  reads: str = "obs",
) -> Stage:
  """Makes the stage, by its name "obs" paired with TSM-SL's.

  Args:
    source: batch, epochs and step size.
    loss: (target, samples, rows, state, aux) -> (scalar, metrics); samples in
      scaled units, `rows` their positions in the part.
    apply: see Stage.
    enter: see Stage.
    fixed: see Stage; its aux holds `total`, the stage's steps.
    name: of the stage and its random streams.
    reads: see Stage; not "pair".

  Returns:
    The Stage; an empty batch reports no metrics.
  """

  def step(key, state, block, aux):
    del key

    def one(state, batch):
      samples, rows = batch
      samples = to_scaled(samples, state.scale)
      (value, seen), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.target, samples, rows, state, aux
      )
      state, metrics = guarded_update(
        state, value, gradient, samples.weight, source, aux.total
      )
      alive = jnp.sum(samples.weight) > 0
      seen = jax.tree.map(lambda x: jnp.where(alive, x, jnp.nan), seen)
      return state, seen | metrics

    return jax.lax.scan(one, state, (block.samples, block.rows))

  return Stage(
    name=name,
    reads=reads,
    batch=source.batch,
    epochs=source.epochs,
    period=1,
    keep=True,
    apply=apply,
    enter=enter,
    fixed=fixed,
    step=step,
  )
