"""Networks as pairs of pure functions."""

from bidfcl_jax.models.bridge import make_bridge
from bidfcl_jax.models.mlp import (
  MLP,
  Network,
  Scores,
  make_scores,
  make_target,
)

__all__ = [
  "MLP",
  "Network",
  "Scores",
  "make_bridge",
  "make_scores",
  "make_target",
]
