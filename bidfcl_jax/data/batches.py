"""Rows of an epoch: shuffled, padded to one shape, masked.

The permutation is drawn on the host (XLA's sort on a CPU is over ten times
slower than NumPy's) and sent to the device as row positions, -1 for padding;
the rows themselves are gathered on the device.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.keys import host_generator
from bidfcl_jax.types import Samples, Study

READS = ("rct", "obs", "union")


class Block(NamedTuple):
  """Consecutive batches of one step.

  Attributes:
    samples: Samples `[period, batch, ...]`; weight 0 for padding.
    rows: `[period, batch]` int32, positions in the part (0 for padding).
  """

  samples: Samples
  rows: jax.Array


def _sources(study: Study, reads: str) -> tuple[Samples, ...]:
  if reads not in READS:
    raise ValueError(f"reads={reads!r} is not one of {', '.join(READS)}")
  return {
    "rct": (study.rct_train,),
    "obs": (study.obs,),
    "union": (study.obs, study.rct_train),
  }[reads]


def part(study: Study, reads: str) -> Samples:
  """Returns the rows that a stage reads: "rct", "obs" or "union"."""
  first, *rest = _sources(study, reads)
  if not rest:
    return first
  union = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, *rest)
  # A household keeps its number only within its source.
  return union.replace(group=np.arange(len(union), dtype=np.int32))


def part_rows(study: Study, reads: str) -> int:
  """Returns how many rows `part` would return, without joining them."""
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


def take_block(samples: Samples, rows: jax.Array) -> Block:
  """Gathers the rows of one block on the device; pure."""
  real = rows >= 0
  rows = jnp.where(real, rows, 0)
  taken = jax.tree.map(lambda leaf: leaf[rows], samples)
  return Block(taken.replace(weight=taken.weight * real), rows)
