"""The metrics of the tables: what predictions are worth on the test rows."""

from pathlib import Path

import numpy as np

from bidfcl_jax import evaluation
from bidfcl_jax.files import write_json
from bidfcl_jax.types import Curve, Outcomes, Study


def judge(
  outcomes: Outcomes, study: Study, budget: float
) -> tuple[dict[str, float], Curve]:
  """Values predictions on the test rows.

  Args:
    outcomes: predictions on the test rows, original units.
    study: with rct_test, and with truth on simulated data.
    budget: per capita.

  Returns:
    (metrics, cost curve): EOM at exact budget and by Algorithm 6, their spend,
    AUCC for two arms; on simulated data oracle EOM and regret. The curve is
    the true one where outcomes are known, else estimated by IPW.
  """
  test = study.rct_test
  exact = evaluation.eom_result(outcomes, test, None, budget)
  letter = evaluation.eom_result(outcomes, test, None, budget, exact=False)
  metrics = {
    "eom": exact.revenue,
    "eom_cost": exact.cost,
    "eom_letter": letter.revenue,
    "eom_letter_cost": letter.cost,
    "mixed_with_control": float(exact.mixed_with_control),
  }
  if study.arms == 2:
    metrics["aucc"] = evaluation.aucc(outcomes, test)
  truth = None if study.truth is None else study.truth.outcomes
  if truth is None:
    return metrics, evaluation.cost_curve(outcomes, test, None)
  oracle = evaluation.oracle_eom(outcomes, truth, budget)
  best = evaluation.oracle_policy(truth, budget)
  metrics["oracle_eom"] = oracle.revenue
  metrics["oracle_eom_cost"] = oracle.cost
  metrics["regret"] = best.revenue - oracle.revenue
  return metrics, evaluation.true_cost_curve(outcomes, truth)


def yardsticks(
  study: Study, budget: float, oracle_folder: Path
) -> dict[str, dict[str, float]]:
  """Values RANDOM, BEST-ARM and, where outcomes are known, ORACLE.

  Args:
    study: with rct_test.
    budget: per capita.
    oracle_folder: gets the curve of ORACLE.

  Returns:
    Yardstick -> metrics.
  """
  estimated = evaluation.constant_policies(
    study.rct_test, budget, arms=study.arms
  )
  rows = {
    "RANDOM": {"eom": estimated.random.revenue},
    "BEST-ARM": {"eom": estimated.best_arm.revenue},
  }
  truth = None if study.truth is None else study.truth.outcomes
  if truth is not None:
    known = evaluation.constant_policies(truth, budget)
    best = evaluation.oracle_policy(truth, budget).revenue
    rows["RANDOM"]["oracle_eom"] = known.random.revenue
    rows["BEST-ARM"]["oracle_eom"] = known.best_arm.revenue
    rows["ORACLE"], curve = judge(truth, study, budget)
    save_curve(oracle_folder, curve)
    rows["ORACLE"]["oracle_eom"] = best
  return rows


def save_curve(folder: Path, curve: Curve) -> None:
  """Writes a curve into a fit's folder."""
  write_json(
    folder / "curve.json",
    {name: np.asarray(getattr(curve, name)) for name in vars(curve)},
  )
