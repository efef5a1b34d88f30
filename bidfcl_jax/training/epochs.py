"""One epoch on the device: a jitted scan over blocks, nothing else.

The trainer's part of a step lives here: gather the block's rows, let the method
step, and move the average of the target (decay per batch, so that a block of
five batches decays it five times).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.data.batches import take_block
from bidfcl_jax.methods import State


@struct.dataclass
class Progress:
  """What one stage carries from block to block.

  Attributes:
    state: the method's.
    average: decayed sum of targets.
    average_weight: sum of the decayed weights; average / average_weight is the
      bias-corrected mean.
  """

  state: State
  average: Any
  average_weight: jax.Array


def start_stage(state: State) -> Progress:
  """Begins a stage: an empty average, and no two leaves in one buffer.

  The scan donates its carry, and a buffer can be donated once only; states may
  share arrays (a teacher initialised from the target).
  """
  state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
  return Progress(
    state=state,
    average=jax.tree.map(jnp.zeros_like, state.target),
    average_weight=jnp.zeros(()),
  )


def averaged_target(progress: Progress) -> Any:
  """Returns the bias-corrected average; the target itself before any step."""
  weight = progress.average_weight
  empty = weight == 0
  safe = jnp.where(empty, 1.0, weight)
  return jax.tree.map(
    lambda mean, last: jnp.where(empty, last, mean / safe.astype(mean.dtype)),
    progress.average,
    progress.state.target,
  )


def _scan(step: Callable, decay: float) -> Callable:
  """Returns the scan of a stage's step over blocks.

  Args:
    step: the stage's (key, state, block, aux) -> (state, metrics).
    decay: of the target's average, per batch.

  Returns:
    (progress, samples, rows `[blocks, period, batch]` or a Pair of them, first
    block number, stage key, aux) -> (progress, metrics with a leading axis of
    blocks).
  """

  def body(progress, numbered, samples, key, aux):
    number, rows = numbered
    old = progress.state
    state, metrics = step(
      jax.random.fold_in(key, number), old, take_block(samples, rows), aux
    )
    kept = jnp.asarray(decay) ** (state.step - old.step)

    def move(mean, last):
      share = kept.astype(mean.dtype)
      return jnp.where(share == 1, mean, share * mean + (1 - share) * last)

    return (
      Progress(
        state=state,
        average=jax.tree.map(move, progress.average, state.target),
        average_weight=kept * progress.average_weight + (1 - kept),
      ),
      metrics,
    )

  def scan(progress, samples, rows, first, key, aux):
    numbers = first + jnp.arange(len(jax.tree.leaves(rows)[0]))
    return jax.lax.scan(
      lambda carry, x: body(carry, x, samples, key, aux),
      progress,
      (numbers, rows),
    )

  return scan


@functools.lru_cache(maxsize=256)
def epoch_scan(step: Callable, decay: float) -> Callable:
  """Returns the jitted `_scan`; progress is donated, one compilation a shape.

  Args:
    step: the stage's (key, state, block, aux) -> (state, metrics).
    decay: of the target's average, per batch.
  """
  return jax.jit(_scan(step, decay), donate_argnums=0)


@functools.lru_cache(maxsize=256)
def seeds_scan(step: Callable, decay: float) -> Callable:
  """Returns `epoch_scan` over seeds: all arguments have a leading axis.

  The first block number is shared. See training/seeds.py.
  """
  over = jax.vmap(_scan(step, decay), in_axes=(0, 0, 0, None, 0, 0))
  return jax.jit(over, donate_argnums=0)
