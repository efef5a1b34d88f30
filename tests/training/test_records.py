import json
import math

import numpy as np
import pytest

from bidfcl_jax.training.records import (
  Diverged,
  add_metrics,
  checked_skips,
  epoch_summary,
  skip_runs,
)


def test_means_leave_out_blocks_without_a_report():
  first = {
    "loss": [1.0, np.nan, 3.0],
    "skipped": [[0, 1], [0, 0]],
    "mu": [np.nan],
  }
  then = {"loss": [2.0], "skipped": [[1, 0]], "mu": [np.nan]}
  # As a checkpoint inside the epoch gives them back.
  totals = json.loads(json.dumps(add_metrics({}, first)))
  record = epoch_summary(add_metrics(totals, then))
  assert record["loss"] == 2.0
  assert record["skipped"] == 2.0
  assert math.isnan(record["mu"])


def test_fc_16_runs_of_skips_go_over_the_edges_of_scans():
  assert skip_runs([1, 1, 0, 1], 3) == (5, 1)
  assert skip_runs([0, 1, 1], 3) == (3, 2)
  assert skip_runs([], 4) == (4, 4)
  assert checked_skips([0, 1, 1], 3, limit=4, step=17) == 2
  with pytest.raises(Diverged, match="5 steps in a row .* near step 17;"):
    checked_skips([1, 1, 0], 3, limit=5, step=17)
