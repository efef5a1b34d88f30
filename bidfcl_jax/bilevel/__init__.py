"""Two levels: assumed steps below, implicit differentiation above."""

from bidfcl_jax.bilevel.hypergradient import (
  SOLVERS,
  hypergradient,
  mixed_product,
)
from bidfcl_jax.bilevel.linear_solve import all_finite
from bidfcl_jax.bilevel.lower_level import assumed_steps

__all__ = [
  "SOLVERS",
  "all_finite",
  "assumed_steps",
  "hypergradient",
  "mixed_product",
]
