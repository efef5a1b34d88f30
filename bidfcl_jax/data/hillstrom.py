"""Hillstrom's e-mail test (MineThatData challenge, 2008) as an OBS + RCT Study.

64,000 customers of a shop, three arms of a third each: no e-mail, women's
goods, men's goods. Two weeks of visits, conversions and spend follow. The
paper's public experiment takes a paid visit as the cost, and so do we. OBS is
made out of the trial by rejection sampling (hybrid.py).

Only 578 people bought, so methods cannot be ranked on conversion or spend.
"""

from os import PathLike

import jax
import numpy as np

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data.assemble import Rows
from bidfcl_jax.data.cells import choices
from bidfcl_jax.data.hybrid import hybrid_study
from bidfcl_jax.data.published import (
  BINARY,
  Limits,
  check_outcomes,
  published_table,
  ranged,
)
from bidfcl_jax.types import Study

SHA256 = "0e5893329d8b93cefecc571777672028290ab69865718020c78c7284f291aece"
ARMS = ("No E-Mail", "Womens E-Mail", "Mens E-Mail")
ARM_TILT = (0.0, 0.5, 1.0)
# The publisher writes "Surburban".
LEVELS = {
  "zip_code": ("Rural", "Surburban", "Urban"),
  "channel": ("Phone", "Web", "Multichannel"),
}
# history_segment is left out: it is a coarse copy of history.
RANGES = {
  "recency": Limits(1, 12, whole=True),
  "history": Limits(0, np.inf),
  "mens": BINARY,
  "womens": BINARY,
  "newbie": BINARY,
}
OUTCOMES = {
  "visit": BINARY,
  "conversion": BINARY,
  "spend": Limits(0, np.inf),
}


def load_hillstrom(
  path: str | PathLike,
  *,
  key: jax.Array,
  hybrid: HybridConfig | None = None,
  revenue: str = "spend",
  cost: str = "visit",
  budget: float | None = None,
) -> Study:
  """Reads the publisher's file and makes OBS out of a part of it.

  The logging policy leans to e-mails, to men's goods most, for likely
  visitors (data.md 4; b_a = 0, 0.5, 1).

  Args:
    path: the CSV file, plain or gzip.
    key: of the split and of the logging policy.
    hybrid: split and strength of the confounding; None means the defaults.
    revenue: the outcome column that is revenue: "spend" (dollars),
      "conversion" or "visit".
    cost: the outcome column that is cost.
    budget: per capita, in units of cost; None takes the Study's default.

  Returns:
    A Study with 3 arms and 11 features: recency, history, mens, womens,
    newbie, and a 0/1 column for each zip_code and channel.

  Raises:
    ValueError: a header, level or cell that this file cannot have. A sha256
      that differs only logs a warning.
  """
  check_outcomes(OUTCOMES, revenue=revenue, cost=cost)
  numeric, worded = (*RANGES, *OUTCOMES), (*LEVELS, "segment")
  table = published_table(path, SHA256, numeric, worded)
  outcomes = {name: ranged(table, name, OUTCOMES[name]) for name in OUTCOMES}
  features = {name: ranged(table, name, RANGES[name]) for name in RANGES}
  for name, levels in LEVELS.items():
    codes = choices(table, name, levels)
    for code, level in enumerate(levels):
      features[f"{name}={level}"] = (codes == code).astype(np.float64)
  rows = Rows(
    np.stack(list(features.values()), axis=1),
    choices(table, "segment", ARMS),
    outcomes[revenue],
    outcomes[cost],
    None,
  )
  return hybrid_study(
    rows,
    key,
    HybridConfig() if hybrid is None else hybrid,
    arm_names=ARMS,
    feature_names=tuple(features),
    prognostic=outcomes["visit"],
    budget=budget,
    arm_tilt=np.array(ARM_TILT),
  )
