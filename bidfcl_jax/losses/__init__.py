"""Losses as pure functions; the off-policy estimators that they rest on."""

from bidfcl_jax.losses.decision import (
  difd,
  dpl,
  finite_difference_loss,
  marginal_price,
  pifd,
  pifd_coefficients,
  plugin_policy_loss,
  policy_loss,
  ppl,
  soft_policy,
)
from bidfcl_jax.losses.prediction import (
  Cells,
  bridge_cells,
  cell_loss,
  cell_residuals,
  factual_loss,
)
from bidfcl_jax.losses.value import policy_value

__all__ = [
  "Cells",
  "bridge_cells",
  "cell_loss",
  "cell_residuals",
  "difd",
  "dpl",
  "factual_loss",
  "finite_difference_loss",
  "marginal_price",
  "pifd",
  "pifd_coefficients",
  "plugin_policy_loss",
  "policy_loss",
  "policy_value",
  "ppl",
  "soft_policy",
]
