"""Bi-level decision-focused causal learning (Bi-DFCL) in JAX."""

__version__ = "0.1.0"
