"""The trainer that serves every method, and its checkpoints."""

from bidfcl_jax.training.fit import Diverged, Stopped, fit
from bidfcl_jax.training.served import Served, load_served, save_served

__all__ = [
  "Diverged",
  "Served",
  "Stopped",
  "fit",
  "load_served",
  "save_served",
]
