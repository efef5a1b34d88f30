"""Budgets that a decision loss is trained for.

`decision.budgets` are multiples of the run's budget where the cheapest arm is
free. Where it costs something (visits that happen without an offer), a share of
the whole budget may be less than any policy can spend: multiples are then of
what the budget leaves above that arm,

  b_f = b + (f - 1) (b - cheapest),    cheapest = min_j mean cost of arm j

which is f b for a free arm and b itself for f = 1.
"""

import numpy as np

from bidfcl_jax.config import Config
from bidfcl_jax.methods.effects import arm_means
from bidfcl_jax.methods.method import study_budget
from bidfcl_jax.types import Study


def cheapest_spend(study: Study) -> float:
  """Returns the spend of the cheapest arm for all, per capita.

  By known costs, or by the mean costs of the arms in RCT-train.
  """
  if study.known_cost is not None:
    return float(np.min(study.known_cost))
  rct = study.rct_train
  seen = np.unique(np.asarray(rct.arm)[np.asarray(rct.weight) > 0])
  return float(np.min(arm_means(rct, study.arms).cost[seen]))


def budgets_of(config: Config, study: Study) -> np.ndarray:
  """Returns the budgets of the decision loss, `[B]`, per capita."""
  budget = study_budget(config, study)
  room = max(budget - cheapest_spend(study), 0.0)
  return budget + (np.asarray(config.decision.budgets) - 1) * room


def check_budget(config: Config, study: Study) -> None:
  """Refuses a budget that no policy can be trained for.

  Raises:
    ValueError: the cheapest arm alone costs more.
  """
  budget, least = study_budget(config, study), cheapest_spend(study)
  if budget < least:
    raise ValueError(
      f"budget={budget:g} per capita is less than the cheapest arm costs "
      f"({least:g} in RCT-train): a decision loss has no price for it; raise "
      "the budget"
    )
