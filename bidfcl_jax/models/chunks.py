"""Applies a model to many rows in chunks of one shape."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

CHUNK = 65_536


def apply_in_chunks(
  apply: Callable[[Any, Any], Any],
  state: Any,
  features: Any,
  *,
  chunk: int = CHUNK,
) -> Any:
  """Computes `apply(state, features)` with bounded device memory.

  Args:
    apply: (state, features `[k, d]`) -> Outcomes, or any arrays, of k rows;
      compiled once per shape.
    state: its first argument.
    features: `[n, d]` on the host.
    chunk: most rows at a time; the last chunk is padded to a full one.

  Returns:
    The same of NumPy arrays of n rows.
  """
  features = np.asarray(features)
  rows = len(features)
  chunk = min(chunk, rows)
  jitted = jax.jit(apply)
  pieces = []
  for start in range(0, rows, chunk):
    piece = features[start : start + chunk]
    size = len(piece)
    padded = np.pad(piece, ((0, chunk - size), (0, 0)))
    done = jax.device_get(jitted(state, padded))
    pieces.append(jax.tree.map(lambda cells, k=size: cells[:k], done))
  return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
