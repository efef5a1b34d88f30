"""Tables and pictures of a finished run, made from its records alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bidfcl_jax import report
from bidfcl_jax.files import read_lines, write_atomic
from bidfcl_jax.report import Result
from bidfcl_jax.types import Curve
from experiments import runner

OURS = ("Bi-DFCL-PPL",)
# How `metrics.judge` estimates a value.
COUNTED = "ipw (counted shares)"
# More lines than this an eye does not tell apart; the tables show all.
MOST_DRAWN = 10


def rising(curve: Curve) -> Curve:
  """Returns the points that spend more than all before them.

  Measured spend, unlike predicted spend, may dip where the price falls.
  """
  before = np.maximum.accumulate(np.r_[-np.inf, curve.cost[:-1]])
  kept = curve.cost > before
  return Curve(curve.cost[kept], curve.revenue[kept], curve.price[kept])


def _curves(names, seeds, workdir: Path) -> dict[str, list[Curve]]:
  def read(name, seed):
    path = runner.fit_folder(workdir, name, seed) / "curve.json"
    points = json.loads(path.read_text(encoding="utf-8"))
    points = {k: np.asarray(v, np.float64) for k, v in points.items()}
    return rising(Curve(**points))

  return {name: [read(name, seed) for seed in seeds] for name in names}


def _mean_budget(results: list[Result]) -> float:
  """The default budget is a study's own: worlds differ a little."""
  budgets = [r.metric("budget") for r in results if "budget" in r.metrics]
  return float(np.mean(budgets))


def _reference(names) -> str:
  return "TSM-SL-RCT" if "TSM-SL-RCT" in names else names[0]


def _tables(results, plan, data: str) -> dict[str, report.Table]:
  """Returns metric -> table, the one to read first in front."""
  simulated = data == "simulated"
  seen = {name for result in results for name in result.metrics}
  metrics = [m for m in ("oracle_eom", "eom", "aucc") if m in seen]
  description = data
  if simulated:
    world = plan.config.simulator
    description = (
      f"simulated {world.kind}, {world.n_obs:,} OBS and {world.n_rct:,} RCT "
      f"rows a world, recipe {plan.config.recipe}"
    )
  if plan.config.propensity.oracle:
    description += "; IPS and DR-JT by the known logging propensities"
  if plan.note:
    description += f"; {plan.note}"
  tables = {}
  for metric in metrics:
    setting = report.Setting(
      data=description,
      budget=_mean_budget(results),
      estimator="true outcomes" if metric == "oracle_eom" else COUNTED,
      checkpoint=plan.config.training.checkpoint,
    )
    tables[metric] = report.summary(
      results,
      setting,
      metric=metric,
      reference=_reference(plan.names),
      relative="per_seed" if simulated else "mean",
    )
  return tables


def drawn(names: Sequence[str], means: Mapping[str, float]) -> tuple[str, ...]:
  """Returns the methods of the pictures, in their order.

  Args:
    names: of the run.
    means: method -> mean of the main table; one that is missing comes last.

  Returns:
    All of up to MOST_DRAWN; else the reference, the simple rivals, ours, and
    the best of the others.
  """
  # NaN, a method without a value, would leave no order at all.
  reach = {k: v for k, v in means.items() if np.isfinite(v)}
  ranked = sorted(names, key=lambda name: -reach.get(name, -np.inf))
  first = (_reference(names), *report.SIMPLE_RIVALS, *OURS)
  first = [name for name in first if name in names]
  kept = list(dict.fromkeys([*first, *ranked]))[:MOST_DRAWN]
  return tuple(name for name in names if name in kept)


def publish(
  results: list[Result], plan: runner.Plan, workdir: Path, data: str
) -> str:
  """Writes tables/ and figures/ and returns the main table as text."""
  tables = _tables(results, plan, data)
  for metric, table in tables.items():
    path = workdir / "tables" / metric
    write_atomic(path.with_suffix(".md"), report.to_markdown(table))
    write_atomic(path.with_suffix(".csv"), report.to_csv(table))
    write_atomic(path.with_suffix(".tex"), report.to_latex(table))
  main = next(iter(tables.values()))
  names = drawn(plan.names, {row["method"]: row["mean"] for row in main.data})
  share = ""
  if len(names) < len(plan.names):
    share = f", {len(names)} of {len(plan.names)} methods"
  curves = _curves(names, plan.seeds, workdir)
  known = "oracle_eom" in tables
  oracle = _curves(("ORACLE",) if known else (), plan.seeds, workdir)
  report.cost_curves(
    curves,
    workdir / "figures" / "cost_curves.png",
    budget=round(_mean_budget(results), 4),
    reference=_reference(plan.names),
    ours=OURS,
    oracle=oracle.get("ORACLE"),
    title=f"Revenue for a budget{share}",
  )
  records = [
    {**line, "method": name, "epoch": epoch}
    for name in names
    for seed in plan.seeds
    for epoch, line in enumerate(
      read_lines(runner.fit_folder(workdir, name, seed) / "metrics.jsonl")
    )
  ]
  report.training_curves(
    records,
    workdir / "figures" / "training.png",
    title=f"Validation error by epoch{share}",
  )
  return report.to_text(main)
