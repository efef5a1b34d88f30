import math

import numpy as np
import pytest

from bidfcl_jax.files import append_line
from bidfcl_jax.report.results import Result, collect, latest


def test_round_trip_through_lines(tmp_path):
  first = Result("FT", 0, {"eom": np.float32(0.5), "aucc": np.nan}, 2.5, 10)
  append_line(tmp_path / "metrics.jsonl", {"kind": "epoch", "loss": 1})
  append_line(tmp_path / "metrics.jsonl", first.to_record())
  append_line(tmp_path / "metrics.jsonl", Result("FT", 1, {}).to_record())
  back, empty = collect(tmp_path)
  assert back == Result("FT", 0, {"eom": 0.5, "aucc": None}, 2.5, 10)
  assert back.metric("eom") == 0.5
  assert math.isnan(back.metric("aucc")) and math.isnan(empty.metric("eom"))
  assert empty.seconds is None


def test_last_of_a_method_and_seed_wins(tmp_path):
  rows = [("A", 0, 1), ("B", 0, 2), ("A", 0, 3), ("A", 1, 4)]
  results = [Result(m, s, {"eom": v}) for m, s, v in rows]
  kept = [(r.method, r.seed, r.metrics["eom"]) for r in latest(results)]
  assert kept == [("A", 0, 3), ("B", 0, 2), ("A", 1, 4)]
  for name, result in (("x.jsonl", results[0]), ("y.jsonl", results[2])):
    append_line(tmp_path / name, result.to_record())
  (only,) = collect(tmp_path / "x.jsonl", tmp_path / "y.jsonl")
  assert only.metrics["eom"] == 3


def test_refusals_name_the_culprit(tmp_path):
  with pytest.raises(ValueError, match="no results in .*gone"):
    collect(tmp_path / "gone")
  with pytest.raises(ValueError, match="no 'seed'"):
    Result.from_record({"method": "A", "metrics": {}})
  record = {"method": "A", "seed": 0, "metrics": {}, "later_field": 1}
  assert Result.from_record(record) == Result("A", 0, {})
