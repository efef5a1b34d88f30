"""Rows of an epoch: shuffled, padded to one shape, masked.

The permutation is drawn on the host (XLA's sort on a CPU is over ten times
slower than NumPy's) and sent to the device as row positions, -1 for padding;
the rows themselves are gathered on the device.

A stage that reads "pair" gets an OBS batch and an RCT batch of the same size
at each step; an epoch is a pass over OBS, during which the RCT rows are cycled.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.types import Samples, Study

READS = ("rct", "obs", "union", "pair")


class Pair(NamedTuple):
  """Something of both sources: their Samples, or their row positions."""

  obs: Any
  rct: Any


class Block(NamedTuple):
  """Consecutive batches of one step.

  Attributes:
    samples: Samples `[period, batch, ...]`; weight 0 for padding.
    rows: `[period, batch]` int32, positions in the part (0 for padding).
    rct: where the stage reads "pair", the RCT's Samples of the same shape
      (`samples` are then the OBS rows); else None.
    rct_rows: their positions in RCT-train; else None.
  """

  samples: Samples
  rows: jax.Array
  rct: Samples | None = None
  rct_rows: jax.Array | None = None


def _sources(study: Study, reads: str) -> tuple[Samples, ...]:
  if reads not in READS:
    raise ValueError(f"reads={reads!r} is not one of {', '.join(READS)}")
  return {
    "rct": (study.rct_train,),
    "obs": (study.obs,),
    "union": (study.obs, study.rct_train),
    "pair": (study.obs,),
  }[reads]


def part(study: Study, reads: str) -> Samples | Pair:
  """Returns the rows that a stage reads; a Pair of Samples for "pair"."""
  if reads == "pair":
    return Pair(study.obs, study.rct_train)
  first, *rest = _sources(study, reads)
  if not rest:
    return first
  union = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, *rest)
  # A household keeps its number only within its source.
  return union.replace(group=np.arange(len(union), dtype=np.int32))


def part_rows(study: Study, reads: str) -> int:
  """Returns how many rows an epoch passes over ("pair": those of OBS)."""
  return sum(len(source) for source in _sources(study, reads))


def batches_per_epoch(rows: int, batch: int) -> int:
  """Returns how many batches hold at least one row."""
  return -(-rows // batch)


def epoch_rows(
  key: jax.Array, rows: int, batch: int, period: int = 1
) -> np.ndarray:
  """Draws the order of one epoch.

  Args:
    key: of this epoch.
    rows: n.
    batch: rows a batch.
    period: batches a block.

  Returns:
    `[blocks, period, batch]` int32 positions, -1 for padding at the end.
  """
  order = host_generator(key).permutation(rows).astype(np.int32)
  size = period * batch
  padded = np.full(-(-rows // size) * size, -1, np.int32)
  padded[:rows] = order
  return padded.reshape(-1, period, batch)


def cycled_rows(
  key: jax.Array, rows: int, shape: tuple[int, ...]
) -> np.ndarray:
  """Draws positions of `rows` rows, all before any comes again, `shape`."""
  generator = host_generator(key)
  size = math.prod(shape)
  passes = [generator.permutation(rows) for _ in range(-(-size // rows))]
  return np.concatenate(passes)[:size].astype(np.int32).reshape(shape)


def epoch_order(
  key: jax.Array, study: Study, reads: str, batch: int, period: int = 1
) -> np.ndarray | Pair:
  """Draws the order of one epoch of a stage: see `epoch_rows`.

  Returns:
    `[blocks, period, batch]` int32 positions, -1 for padding; for "pair" a Pair
    of them, the RCT's never padded.
  """
  order = epoch_rows(key, part_rows(study, reads), batch, period)
  if reads != "pair":
    return order
  cycled = cycled_rows(stream(key, "rct"), len(study.rct_train), order.shape)
  return Pair(order, cycled)


def take_block(samples: Samples | Pair, rows: jax.Array | Pair) -> Block:
  """Gathers the rows of one block on the device; pure."""
  if isinstance(samples, Pair):
    block = take_block(samples.obs, rows.obs)
    other = take_block(samples.rct, rows.rct)
    return block._replace(rct=other.samples, rct_rows=other.rows)
  real = rows >= 0
  rows = jnp.where(real, rows, 0)
  taken = jax.tree.map(lambda leaf: leaf[rows], samples)
  return Block(taken.replace(weight=taken.weight * real), rows)
