"""Applies a model to many rows in chunks of one shape."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bidfcl_jax.types import Outcomes

CHUNK = 65_536


def apply_in_chunks(
  apply: Callable[[Any, Any], Outcomes],
  state: Any,
  features: Any,
  *,
  chunk: int = CHUNK,
) -> Outcomes:
  """Computes `apply(state, features)` with bounded device memory.

  Args:
    apply: (state, features `[k, d]`) -> Outcomes `[k, M]`; compiled once per
      shape.
    state: its first argument.
    features: `[n, d]` on the host.
    chunk: most rows at a time; the last chunk is padded to a full one.

  Returns:
    Outcomes of NumPy arrays `[n, M]`.
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
    pieces.append(Outcomes(done.revenue[:size], done.cost[:size]))
  return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)
