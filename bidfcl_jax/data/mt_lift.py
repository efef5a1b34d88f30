"""MT-LIFT, a trial of coupons at Meituan, as an OBS + RCT Study.

5,541,842 customers, randomised over five arms, 99 anonymous features, click and
conversion: the closest public relative of the paper's private data. A click is
the cost and a conversion the revenue, as the paper does with Criteo's visit.
OBS is made out of the trial by rejection sampling (hybrid.py).

We have read the published description of the format and not the files:
columns are found by name, in whatever order they stand.
"""

from collections.abc import Sequence
from os import PathLike

import jax

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data.assemble import Rows
from bidfcl_jax.data.columns import read_columns
from bidfcl_jax.data.hybrid import hybrid_study
from bidfcl_jax.data.published import BINARY, FINITE, Limits, check_outcomes
from bidfcl_jax.types import Study

ARMS = ("0", "1", "2", "3", "4")
FEATURES = {f"f{place}": FINITE for place in range(99)}
CODES = {
  "treatment": Limits(0, len(ARMS) - 1, whole=True),
  "click": BINARY,
  "conversion": BINARY,
}
OUTCOMES = ("click", "conversion")


def load_mt_lift(
  path: str | PathLike | Sequence[str | PathLike],
  *,
  key: jax.Array,
  hybrid: HybridConfig | None = None,
  rows: int | None = None,
  revenue: str = "conversion",
  cost: str = "click",
  budget: float | None = None,
  cache: str | PathLike | None = None,
) -> Study:
  """Reads the publisher's files and makes OBS out of a part of the trial.

  No digest of these files was published that we know of, so none is compared.

  Args:
    path: train.csv (plain or gzip), or several files of the trial, whose rows
      are joined: all are randomised, so the split is drawn anew.
    key: of the split and of the logging policy.
    hybrid: split and strength of the confounding; None means the defaults.
    rows: how many rows to read of each file, from the top; None for all.
    revenue: the outcome that is revenue, "conversion" or "click".
    cost: the outcome that is cost.
    budget: per capita, in units of cost; None takes the Study's default.
    cache: folder in which the parsed columns are kept for the next call.

  Returns:
    A Study with 5 arms and 99 features; the logging policy leans to higher arm
    codes for likely clickers.

  Raises:
    ValueError: a missing column or a cell that this file cannot have, with its
      line.
  """
  check_outcomes(OUTCOMES, revenue=revenue, cost=cost)
  paths = [path] if isinstance(path, str | PathLike) else list(path)
  columns = None
  for one in paths:
    read = read_columns(one, FEATURES, CODES, rows=rows, cache=cache)
    columns = read if columns is None else columns.join(read)
  if columns is None:
    raise ValueError("path is an empty list; name at least one file")
  code = {name: columns.codes[:, place] for place, name in enumerate(CODES)}
  return hybrid_study(
    Rows(columns.features, code["treatment"], code[revenue], code[cost]),
    key,
    HybridConfig() if hybrid is None else hybrid,
    arm_names=ARMS,
    feature_names=tuple(FEATURES),
    prognostic=code["click"],
    budget=budget,
  )
