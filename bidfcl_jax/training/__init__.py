"""The trainer that serves every method, and its checkpoints."""

from bidfcl_jax.training.fit import Diverged, Stopped, fit

__all__ = ["Diverged", "Stopped", "fit"]
