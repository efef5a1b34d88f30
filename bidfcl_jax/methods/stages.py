"""The stages that walk over a block batch by batch.

All methods train the same network on the same batches with the same guarded
Adam. What sets most of them apart is a loss (`loss_stage`), or what they do
with an OBS batch and the RCT batch beside it (`batch_stage`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bidfcl_jax.config import SourceConfig
from bidfcl_jax.data.batches import Block
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.method import Stage, to_scaled
from bidfcl_jax.methods.updates import (
  guarded_update,
  money_apply,
  reported,
  schedule,
)
from bidfcl_jax.models import Network


def batch_stage(
  source: SourceConfig,
  learn: Callable,
  *,
  apply: Callable,
  enter: Callable,
  fixed: Callable,
  name: str = "obs",
  reads: str = "obs",
) -> Stage:
  """Makes a stage that learns from one batch after the other.

  Args:
    source: batch and epochs.
    learn: (key, state, batch, aux) -> (state, metrics); the batch is a Block of
      one period, outcomes in scaled units.
    apply: see Stage.
    enter: see Stage.
    fixed: see Stage.
    name: of the stage and its random streams; those of "obs" are TSM-SL's.
    reads: see Stage.
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


def loss_stage(source: SourceConfig, loss: Callable, **options) -> Stage:
  """Makes a stage whose loss is all that sets it apart from TSM-SL.

  Args:
    source: batch, epochs and step size.
    loss: (target, samples, rows, state, aux) -> (scalar, metrics); samples in
      scaled units, `rows` their positions in the part.
    **options: of `batch_stage`; the aux of `fixed` holds `total`, the stage's
      steps, and `reads` is not "pair".

  Returns:
    The Stage; an empty batch reports no metrics.
  """

  def learn(key, state, batch: Block, aux):
    del key
    samples = batch.samples
    (value, seen), gradient = jax.value_and_grad(loss, has_aux=True)(
      state.target, samples, batch.rows, state, aux
    )
    state, metrics = guarded_update(
      state, value, gradient, samples.weight, source, aux.total
    )
    alive = jnp.sum(samples.weight) > 0
    return state, reported(alive, seen) | metrics

  return batch_stage(source, learn, **options)


def prediction_stage(
  name: str,
  reads: str,
  source: SourceConfig,
  network: Network,
  enter: Callable,
) -> Stage:
  """A stage of factual regression (TSM-SL's loss, baselines.md 2.1)."""

  def loss(target, samples, rows, state, aux):
    del rows, aux
    predicted = network.apply(target, samples.features)
    learn_cost = state.scale.learn_cost
    return factual_loss(predicted, samples, learn_cost=learn_cost), {}

  return loss_stage(
    source,
    loss,
    apply=money_apply(network),
    enter=enter,
    fixed=schedule(reads, source),
    name=name,
    reads=reads,
  )
