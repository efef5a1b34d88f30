"""The trainer that serves every method, and its checkpoints."""

from bidfcl_jax.training.fit import fit
from bidfcl_jax.training.records import Diverged, Stopped
from bidfcl_jax.training.seeds import fit_seeds
from bidfcl_jax.training.served import Served, load_served, save_served

__all__ = [
  "Diverged",
  "Served",
  "Stopped",
  "fit",
  "fit_seeds",
  "load_served",
  "save_served",
]
