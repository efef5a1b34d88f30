import math

import numpy as np

from bidfcl_jax.training.records import epoch_summary, skip_runs


def test_means_leave_out_blocks_without_a_report():
  record = epoch_summary(
    {"loss": [1.0, np.nan, 3.0], "skipped": [[0, 1], [1, 0]], "mu": [np.nan]}
  )
  assert record["loss"] == 2.0
  assert record["skipped"] == 2.0
  assert math.isnan(record["mu"])


def test_fc_16_runs_of_skips_go_over_the_edges_of_scans():
  assert skip_runs([1, 1, 0, 1], 3) == (5, 1)
  assert skip_runs([0, 1, 1], 3) == (3, 2)
  assert skip_runs([], 4) == (4, 4)
