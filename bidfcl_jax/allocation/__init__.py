"""Who gets which arm at a budget: price search, allocation, whole path."""

from bidfcl_jax.allocation.blocks import BlockPlan, solve_blocks
from bidfcl_jax.allocation.choice import choose
from bidfcl_jax.allocation.host import require_finite
from bidfcl_jax.allocation.path import path, revenue_at
from bidfcl_jax.allocation.price import price_for_budget
from bidfcl_jax.allocation.realise import realise
from bidfcl_jax.allocation.soft_price import soft_price_for_budget
from bidfcl_jax.allocation.solve import forbid, solve

__all__ = [
  "BlockPlan",
  "choose",
  "forbid",
  "path",
  "price_for_budget",
  "realise",
  "require_finite",
  "revenue_at",
  "soft_price_for_budget",
  "solve",
  "solve_blocks",
]
