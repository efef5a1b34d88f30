"""Data: from files or a simulated world to a checked Study."""

from bidfcl_jax.data.assemble import Rows, assemble
from bidfcl_jax.data.hillstrom import load_hillstrom
from bidfcl_jax.data.hybrid import hybrid_study
from bidfcl_jax.data.scaling import fit_scalers, standardise
from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.data.simulator import simulate
from bidfcl_jax.data.social_pressure import load_social_pressure
from bidfcl_jax.data.splits import split
from bidfcl_jax.data.tables import load_table

__all__ = [
  "Rows",
  "assemble",
  "counted_propensity",
  "declared_propensity",
  "fit_scalers",
  "hybrid_study",
  "load_hillstrom",
  "load_social_pressure",
  "load_table",
  "simulate",
  "split",
  "standardise",
]
