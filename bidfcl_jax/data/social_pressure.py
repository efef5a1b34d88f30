"""Social pressure mailings as an OBS + RCT Study.

Gerber, Green and Larimer (American Political Science Review, 2008) wrote to
344,084 voters of 180,002 households; whole households were drawn into the
control (56 %) or one of four mailings of rising pressure (11 % each). Revenue
is a vote. The data hold no costs: the price of each mailing is the user's to
say, and is then known without error. OBS is made out of the trial by rejection
sampling (hybrid.py); parts are cut, and uncertainty is counted, by household.

The file has no household id, but rows of a household follow one another:
cutting it into consecutive blocks of hh_size rows gives the published number.
"""

from collections.abc import Sequence
from os import PathLike

import jax
import numpy as np

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data.assemble import Rows
from bidfcl_jax.data.cells import choices
from bidfcl_jax.data.declared import known_cost
from bidfcl_jax.data.hybrid import hybrid_study
from bidfcl_jax.data.parsing import Table
from bidfcl_jax.data.published import Limits, published_table, ranged
from bidfcl_jax.types import Study

SHA256 = "969964856c130f80783ded77575ba068b9288c518f42c65866324639dd738b7b"
ARMS = ("Control", "Civic Duty", "Hawthorne", "Self", "Neighbors")
ARM_TILT = (0.0, 0.25, 0.5, 0.75, 1.0)
# g2004 is left out: everybody in the file voted then.
# Unclipped, the oldest voters decide C and only about 40 % are kept.
HYBRID = {"strength": 0.5, "clip": 2.0}
VOTES = ("g2000", "g2002", "p2000", "p2002", "p2004")
YEAR = 2006


def load_social_pressure(
  path: str | PathLike,
  prices: Sequence[float],
  *,
  key: jax.Array,
  hybrid: HybridConfig | None = None,
  budget: float | None = None,
) -> Study:
  """Reads the publisher's file and makes OBS out of a part of it.

  The logging policy leans to the mailings with more pressure for likely
  voters (data.md 4; b_a = 0, 0.25, 0.5, 0.75, 1).

  Args:
    path: the CSV file, plain or gzip.
    prices: the cost of each arm, the control's first: 5 numbers of your own,
      such as (0, 1, 2, 3, 5).
    key: of the split by household and of the logging policy.
    hybrid: split and strength of the confounding; None means HYBRID, strength
      0.5 and a score clipped at 2, which keep 52 % of the pool.
    budget: per capita, in units of the prices; None takes the Study's default.

  Returns:
    A Study with 5 arms, known_cost = prices, and 8 features: male, age in
    2006, five earlier votes (0/1) and the size of the household.

  Raises:
    ValueError: a header or cell that this file cannot have, a household that
      is not one block, or prices that are not 5 costs. A sha256 that differs
      only logs a warning.
  """
  costs = known_cost(prices, ARMS)
  numeric, worded = ("yob", "hh_size"), ("sex", *VOTES, "treatment", "voted")
  table = published_table(path, SHA256, numeric, worded)
  born = ranged(table, "yob", Limits(YEAR - 120, YEAR - 18, whole=True))
  size = ranged(table, "hh_size", Limits(1, 20, whole=True))
  arm = choices(table, "treatment", ARMS)
  features = {
    "male": choices(table, "sex", ("female", "male"), ignore_case=True),
    "age": YEAR - born,
    **{name: _yes(table, name) for name in VOTES},
    "hh_size": size,
  }
  voted = _yes(table, "voted").astype(np.float64)
  rows = Rows(
    np.stack(list(features.values()), axis=1).astype(np.float64),
    arm,
    voted,
    costs[arm],
    _households(table, size.astype(np.int64), arm),
  )
  return hybrid_study(
    rows,
    key,
    HybridConfig(**HYBRID) if hybrid is None else hybrid,
    arm_names=ARMS,
    feature_names=tuple(features),
    prognostic=voted,
    known_cost=costs,
    budget=budget,
    arm_tilt=np.array(ARM_TILT),
  )


def _yes(table: Table, name: str) -> np.ndarray:
  return choices(table, name, ("no", "yes"), ignore_case=True)


def _households(table: Table, size: np.ndarray, arm: np.ndarray) -> np.ndarray:
  """Returns `[n]` int32: the consecutive block of hh_size rows of each row."""
  sizes, start, counts = size.tolist(), 0, []
  while start < len(sizes):
    counts.append(sizes[start])
    start += sizes[start]
  group = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  first = (np.cumsum(counts) - counts)[group]
  inside = np.minimum(first, len(size) - 1)[: len(size)]
  group = group[: len(size)]
  for name, values in (("hh_size", size), ("treatment", arm)):
    mixed = values != values[inside]
    if mixed.any():
      table.refuse(
        mixed,
        name,
        "{cell} differs within one household of consecutive rows; keep the "
        "publisher's order of rows",
      )
  if start > len(size):
    short = group == len(counts) - 1
    table.refuse(
      short, "hh_size", "the file ends inside this household of {cell}"
    )
  return group
