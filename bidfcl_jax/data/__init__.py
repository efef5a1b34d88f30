"""Data: from files or a simulated world to a checked Study, and its batches."""

from bidfcl_jax.config import HybridConfig, SimulatorConfig
from bidfcl_jax.data.assemble import Rows, assemble
from bidfcl_jax.data.balance import balance, drawn_units, sample_ratio
from bidfcl_jax.data.batches import (
  Block,
  batches_per_epoch,
  epoch_rows,
  part,
  take_block,
)
from bidfcl_jax.data.checks import (
  arm_counts,
  covariate_shift,
  pooled_rct,
  repeated_rows,
  shared_households,
)
from bidfcl_jax.data.criteo import load_criteo
from bidfcl_jax.data.encoding import FeatureCoding
from bidfcl_jax.data.hillstrom import load_hillstrom
from bidfcl_jax.data.hybrid import hybrid_study
from bidfcl_jax.data.lazada import load_lazada
from bidfcl_jax.data.mt_lift import load_mt_lift
from bidfcl_jax.data.overlap import Overlap, overlap
from bidfcl_jax.data.scaling import fit_scalers, standardise
from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.data.simulator import simulate
from bidfcl_jax.data.social_pressure import load_social_pressure
from bidfcl_jax.data.splits import split
from bidfcl_jax.data.tables import load_table

__all__ = [
  "Block",
  "FeatureCoding",
  "HybridConfig",
  "Overlap",
  "Rows",
  "SimulatorConfig",
  "arm_counts",
  "assemble",
  "balance",
  "batches_per_epoch",
  "counted_propensity",
  "covariate_shift",
  "declared_propensity",
  "drawn_units",
  "epoch_rows",
  "fit_scalers",
  "hybrid_study",
  "load_criteo",
  "load_hillstrom",
  "load_lazada",
  "load_mt_lift",
  "load_social_pressure",
  "load_table",
  "overlap",
  "part",
  "pooled_rct",
  "repeated_rows",
  "sample_ratio",
  "shared_households",
  "simulate",
  "split",
  "standardise",
  "take_block",
]
