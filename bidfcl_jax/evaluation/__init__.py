"""How good is a policy: EOM, AUCC, cost curves, oracles, and their errors."""

from bidfcl_jax.evaluation.at_budget import EomResult
from bidfcl_jax.evaluation.aucc import (
  AuccResult,
  aucc,
  aucc_by_weight,
  aucc_result,
)
from bidfcl_jax.evaluation.bootstrap import bootstrap, poisson_weights
from bidfcl_jax.evaluation.constant import (
  ConstantPolicies,
  arm_means,
  constant_policies,
)
from bidfcl_jax.evaluation.cost_curves import (
  area_under_curve,
  cost_curve,
  true_cost_curve,
)
from bidfcl_jax.evaluation.eom import eom, eom_core, eom_result
from bidfcl_jax.evaluation.oracle import oracle_eom, oracle_policy, regret
from bidfcl_jax.evaluation.power import (
  Noise,
  budget_mix,
  detectable,
  noise,
  rows_needed,
)
from bidfcl_jax.evaluation.significance import Paired, holm, paired
from bidfcl_jax.evaluation.spend import (
  PriceCurve,
  price_curve,
  price_of_budget,
  priced_mixture,
  rct_spend,
  shares_by_weight,
)

__all__ = [
  "AuccResult",
  "ConstantPolicies",
  "EomResult",
  "Noise",
  "Paired",
  "PriceCurve",
  "area_under_curve",
  "arm_means",
  "aucc",
  "aucc_by_weight",
  "aucc_result",
  "bootstrap",
  "budget_mix",
  "constant_policies",
  "cost_curve",
  "detectable",
  "eom",
  "eom_core",
  "eom_result",
  "holm",
  "noise",
  "oracle_eom",
  "oracle_policy",
  "paired",
  "poisson_weights",
  "price_curve",
  "price_of_budget",
  "priced_mixture",
  "rct_spend",
  "regret",
  "rows_needed",
  "shares_by_weight",
  "true_cost_curve",
]
