"""A stage that learns from one batch after the other, with a key for each.

The rivals that read both sources (baselines.md 4) differ in what they do with
an OBS batch and the RCT batch beside it; the walk over a block is the same.
"""

from collections.abc import Callable

import jax

from bidfcl_jax.config import SourceConfig
from bidfcl_jax.data.batches import Block
from bidfcl_jax.methods.method import Stage, to_scaled


def batch_stage(
  reads: str,
  source: SourceConfig,
  learn: Callable,
  *,
  apply: Callable,
  enter: Callable,
  fixed: Callable,
) -> Stage:
  """Makes the stage "obs", paired with TSM-SL's by its name.

  Args:
    reads: "obs" or "pair".
    source: batch and epochs.
    learn: (key, state, batch, aux) -> (state, metrics); the batch is a Block of
      one period, outcomes in scaled units.
    apply: see Stage.
    enter: see Stage.
    fixed: see Stage.
  """

  def step(key, state, block: Block, aux):
    block = block._replace(samples=to_scaled(block.samples, state.scale))
    if block.rct is not None:
      block = block._replace(rct=to_scaled(block.rct, state.scale))

    def one(state, keyed):
      return learn(keyed[0], state, keyed[1], aux)

    keys = jax.random.split(key, len(block.rows))
    return jax.lax.scan(one, state, (keys, block))

  return Stage(
    name="obs",
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
