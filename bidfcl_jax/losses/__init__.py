"""Losses as pure functions; the off-policy estimators that they rest on."""

from bidfcl_jax.losses.decision import (
  dpl,
  marginal_price,
  plugin_marginal_price,
  plugin_policy_loss,
  policy_loss,
  ppl,
  soft_policy,
)
from bidfcl_jax.losses.finite_difference import (
  difd,
  finite_difference_loss,
  pifd,
  pifd_coefficients,
)
from bidfcl_jax.losses.prediction import (
  Cells,
  additive_cells,
  bridge_cells,
  cell_loss,
  cell_residuals,
  factual_loss,
  weighted_cells,
)
from bidfcl_jax.losses.uplift import direct_roi_loss, marginal_roi_loss
from bidfcl_jax.losses.value import policy_value

__all__ = [
  "Cells",
  "additive_cells",
  "bridge_cells",
  "cell_loss",
  "cell_residuals",
  "difd",
  "direct_roi_loss",
  "dpl",
  "factual_loss",
  "finite_difference_loss",
  "marginal_price",
  "marginal_roi_loss",
  "pifd",
  "pifd_coefficients",
  "plugin_marginal_price",
  "plugin_policy_loss",
  "policy_loss",
  "policy_value",
  "ppl",
  "soft_policy",
  "weighted_cells",
]
