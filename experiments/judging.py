"""A trained model on randomised rows: revenue at many budgets, with bands.

EOM (Algorithm 6, exact budget, ipw with counted shares) at each budget, and
what a unit of spend brings: (EOM - revenue of control) / (spend - cost of
control). Bands are bootstrap intervals by group; every replicate counts its
arm shares anew and meets the budget again.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax import evaluation
from bidfcl_jax.data.cells import choices, numbers, refuse_flaws, words
from bidfcl_jax.data.parsing import read_table
from bidfcl_jax.data.scaling import standardise
from bidfcl_jax.evaluation.eom import estimated_value, in_float64
from bidfcl_jax.losses.value import safe_ratio
from bidfcl_jax.training import Served
from bidfcl_jax.types import Interval, Outcomes, Samples


class Columns(NamedTuple):
  """Where a table holds what an experiment needs; None: not there."""

  arm: str | None
  revenue: str | None
  cost: str | None = None
  source: str | None = None
  group: str | None = None


def read_trial(served: Served, path: str, columns: Columns) -> Samples:
  """Reads the randomised rows of a new table.

  Rows whose source is "obs" are left out; without a source column all rows
  count as randomised.

  Args:
    served: gives the coding of features and the arms' labels.
    path: CSV, gzipped CSV or Parquet file.
    columns: names in the table.

  Returns:
    Samples, features standardised.

  Raises:
    ValueError: a name that is missing, a cell that cannot be used, or an arm
      without a row.
  """
  if columns.arm is None or columns.revenue is None:
    raise ValueError(
      "a new table needs --arm_column and --revenue_column (and --cost_column "
      "where costs were learnt)"
    )
  if served.known_cost is None and columns.cost is None:
    raise ValueError("this model learnt costs: give --cost_column")
  money = [columns.revenue]
  if served.known_cost is None:
    money.append(columns.cost)
  roles = [
    c for c in (columns.arm, columns.source, columns.group) if c is not None
  ]
  table = read_table(
    path, list(dict.fromkeys([*served.coding.inputs, *money, *roles]))
  )
  if columns.source is not None:
    source = choices(table, columns.source, ("obs", "rct"), ignore_case=True)
    table = table.keep(source == 1)
  if not len(table):
    raise ValueError(f"{path} has no randomised row")
  refuse_flaws(table, money, roles)
  arm = choices(table, columns.arm, served.arm_names)
  group = None
  if columns.group is not None:
    group = words(table, columns.group).rank("dense").to_numpy() - 1
  cost = (
    numbers(table, columns.cost)
    if served.known_cost is None
    else served.known_cost[arm]
  )
  return Samples.create(
    standardise(served.scalers, served.coding.apply(table)),
    arm,
    numbers(table, columns.revenue),
    cost,
    group=group,
  )


@functools.partial(jax.jit, static_argnames="count")
def _values(outcomes, rows, budgets, count: int):
  """Returns `[budgets, 2]`: EOM, and gain over control per unit of cost."""
  shares = evaluation.shares_by_weight(rows, count)
  nobody = estimated_value(jnp.zeros_like(rows.arm), rows, shares)

  def one(budget):
    at = evaluation.eom_core(outcomes, rows, shares, budget)
    gain = safe_ratio(at.revenue - nobody.revenue, at.cost - nobody.cost)
    return jnp.stack([at.revenue, gain])

  return jax.lax.map(one, budgets)


def at_budgets(
  outcomes: Outcomes,
  samples: Samples,
  budgets: Sequence[float],
  key: jax.Array,
  *,
  replicates: int,
) -> Interval:
  """Values predictions at budgets.

  Args:
    outcomes: predictions `[n, M]`, original units.
    samples: randomised Samples of the same individuals.
    budgets: k budgets per capita.
    key: of the bootstrap.
    replicates: bootstrap draws.

  Returns:
    Interval of `[k, 2]`: EOM, and incremental revenue per unit of cost; NaN
    where a budget is infeasible.
  """
  count = outcomes.revenue.shape[1]
  with jax.enable_x64(True):
    rows = in_float64(samples)
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), outcomes)
    wide, wanted = jax.device_put((wide, np.asarray(budgets, np.float64)))
    return evaluation.bootstrap(
      lambda weight: _values(wide, rows.replace(weight=weight), wanted, count),
      rows,
      key,
      replicates=replicates,
    )


def spread_budgets(
  outcomes: Outcomes, samples: Samples, count: int = 10
) -> np.ndarray:
  """Returns budgets over the range from control to an unbound budget."""
  curve = evaluation.cost_curve(outcomes, samples, None)
  ends = curve.cost[0], curve.cost.max()
  return np.linspace(*ends, count + 1)[1:]
