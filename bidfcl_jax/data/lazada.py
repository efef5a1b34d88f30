"""Lazada's vouchers (DESCN, KDD 2022): a real pair of logs and a trial.

The train file was logged by a targeting policy: treated customers buy 4.7
points more often, against 0.37 in the randomised test file. So OBS is the train
file and nothing has to be made; the trial is split into RCT-train, validation
and test. There is one outcome: revenue is the label, and the cost of a voucher
is the user's to say, known without error.

We have read the published description of the format and not the files:
columns are found by name, in whatever order they stand.
"""

from collections.abc import Sequence
from os import PathLike

import jax
import numpy as np

from bidfcl_jax.data.assemble import Rows, assemble
from bidfcl_jax.data.columns import read_columns
from bidfcl_jax.data.declared import known_cost
from bidfcl_jax.data.published import BINARY, FINITE
from bidfcl_jax.data.splits import split
from bidfcl_jax.types import Study

MD5 = {
  "train": "efffc70375e700bcb91a9d41eddd7f66",
  "test": "9058fa57b984f0112a1ecf71dc52fb1e",
}
ARMS = ("no voucher", "voucher")
FEATURES = {f"f{place}": FINITE for place in range(83)}
CODES = {"is_treat": BINARY, "label": BINARY}


def load_lazada(
  train: str | PathLike,
  test: str | PathLike,
  *,
  key: jax.Array,
  prices: Sequence[float] = (0.0, 1.0),
  shares: tuple[float, float, float] = (0.4, 0.1, 0.5),
  rows: int | None = None,
  budget: float | None = None,
  cache: str | PathLike | None = None,
) -> Study:
  """Reads the publisher's two files; `data_id` is not used.

  Args:
    train: full_trainset.csv, plain or gzip: the logs.
    test: full_testset.csv: the trial.
    key: of the split of the trial.
    prices: cost of each arm, the control's first, in units of your own.
    shares: of the trial's rows for RCT-train, validation and test.
    rows: how many rows to read of each file, from the top; None for all.
    budget: per capita, in units of the prices; None takes the Study's default,
      which with two arms is a voucher for every second person.
    cache: folder in which the parsed columns are kept for the next call.

  Returns:
    A Study with 2 arms, 83 features and known_cost = prices.

  Raises:
    ValueError: a missing column or a cell that these files cannot have, with
      its line; prices that are not 2 costs. An md5 that differs only logs a
      warning.
  """
  costs = known_cost(prices, ARMS)
  logs, trial = (
    _rows(
      read_columns(
        path,
        FEATURES,
        CODES,
        rows=rows,
        cache=cache,
        digest=("md5", MD5[part]),
      ),
      costs,
    )
    for part, path in (("train", train), ("test", test))
  )
  names = ("train", "valid", "test")
  parts = split(
    np.arange(len(trial.arm)), dict(zip(names, shares, strict=True)), key
  )
  return assemble(
    obs=logs,
    rct_train=trial.take(parts["train"]),
    rct_valid=trial.take(parts["valid"]),
    rct_test=trial.take(parts["test"]),
    arm_names=ARMS,
    feature_names=tuple(FEATURES),
    known_cost=costs,
    budget=budget,
  )


def _rows(columns, costs: np.ndarray) -> Rows:
  arm, label = columns.codes.T
  return Rows(columns.features, arm, label, costs[arm])
