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
from bidfcl_jax.evaluation.significance import Paired, holm, paired

__all__ = [
  "AuccResult",
  "ConstantPolicies",
  "EomResult",
  "Paired",
  "area_under_curve",
  "arm_means",
  "aucc",
  "aucc_by_weight",
  "aucc_result",
  "bootstrap",
  "constant_policies",
  "cost_curve",
  "eom",
  "eom_core",
  "eom_result",
  "holm",
  "oracle_eom",
  "oracle_policy",
  "paired",
  "poisson_weights",
  "regret",
  "true_cost_curve",
]
