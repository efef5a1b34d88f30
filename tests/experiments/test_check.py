"""The data report, run as a user runs it."""

import json
import subprocess
import sys

import pytest


def check(*flags):
  return subprocess.run(
    [sys.executable, "-m", "experiments.check", "--preset=smoke", *flags],
    capture_output=True,
    text=True,
    check=False,
  )


def test_fc_18_report_text_picture_and_a_taken_folder(tmp_path):
  folder = tmp_path / "report é 1"
  first = check(f"--output={folder}")
  assert first.returncode == 0, first.stderr
  for word in ("OK    sample ratio", "rct_test", "effective rows", "power"):
    assert word in first.stdout
  assert (folder / "report.png").read_bytes()[1:4] == b"PNG"
  record = json.loads((folder / "report.json").read_text())
  assert record["verdict"] == first.stdout.split(":")[0]
  assert len(record["findings"]) == 8
  assert record["power"]["detectable"]["rct_test"] > 0
  assert "propensity" not in record["overlap"]
  text = (folder / "report.md").read_text()
  assert all(f["text"] in text for f in record["findings"])
  before = (folder / "report.json").read_bytes()
  second = check(f"--output={folder}")
  assert second.returncode == 1
  assert "--overwrite" in second.stderr
  assert (folder / "report.json").read_bytes() == before


@pytest.mark.slow
def test_bad_shares_are_refused_in_one_line(tmp_path):
  done = check("--shares=0.5,0.5", f"--output={tmp_path / 'out'}")
  assert done.returncode == 1
  assert "--shares=0.5,0.5: declared propensities" in done.stderr
  assert done.stderr.count("\n") == 1
  assert not (tmp_path / "out").exists()
