import datetime
import hashlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bidfcl_jax.files import read_lines
from bidfcl_jax.report import workdir

CONFIG = {"preset": "smoke", "bilevel": {"n_cg": 10, "hidden": (64, 32)}}
CHANGED = {"preset": "smoke", "bilevel": {"n_cg": 20, "hidden": (64, 32)}}


def _sums(root):
  return {
    str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(Path(root).rglob("*"))
    if path.is_file()
  }


def _run(root, finish=True, **options):
  with workdir.claim(root, CONFIG, "d1", **options) as run:
    run.log({"epoch": 0, "loss": np.float32(1)})
    (root / "fits").mkdir(exist_ok=True)
    (root / "fits" / "state").write_bytes(b"123")
    if finish:
      run.finish({"eom": 1.0})
    return run


def test_first_claim_writes_the_record(tmp_path):
  root = tmp_path / "new" / "run"
  run = workdir.claim(root, CONFIG, "d1", command=["train", "--a=b c"])
  assert not run.resumed
  run.close()
  run.close()
  record = workdir.read_config(root)
  assert record["config"]["bilevel"] == {"n_cg": 10, "hidden": [64, 32]}
  assert record["data_hash"] == "d1"
  assert record["command"] == "train '--a=b c'"
  assert record["versions"]["numpy"] == np.__version__
  with pytest.raises(ValueError, match="no run in"):
    workdir.read_config(tmp_path)


def test_second_run_is_refused_and_changes_nothing_fc_18(tmp_path):
  root = tmp_path / "run"
  _run(root)
  before = _sums(root)
  with pytest.raises(ValueError, match="holds a finished run.*--overwrite"):
    workdir.claim(root, CONFIG, "d1")
  with pytest.raises(
    ValueError, match="option bilevel.n_cg is 20, but 10 .*another --workdir"
  ):
    workdir.claim(root, CHANGED, "d1")
  with pytest.raises(ValueError, match="data hash is d2, but d1"):
    workdir.claim(root, CONFIG, "d2")
  assert _sums(root) == before


def test_option_missing_on_one_side_is_named(tmp_path):
  root = tmp_path / "run"
  _run(root, finish=False)
  more = CONFIG | {"budget": 1.5}
  with pytest.raises(ValueError, match="budget is 1.5, but not set in"):
    workdir.claim(root, more, "d1")
  with pytest.raises(ValueError, match='preset is not set, but "smoke"'):
    workdir.claim(root, {"bilevel": CONFIG["bilevel"]}, "d1")


def test_unfinished_run_is_resumed(tmp_path):
  root = tmp_path / "run"
  _run(root, finish=False)
  record = (root / "config.json").read_bytes()
  run = _run(root, finish=False)
  assert run.resumed
  assert (root / "config.json").read_bytes() == record
  assert len(read_lines(root / "metrics.jsonl")) == 2


def test_live_writer_is_refused_fc_18(tmp_path):
  root = tmp_path / "run"
  with workdir.claim(root, CONFIG, "d1"):
    before = _sums(root)
    for overwrite in (False, True):
      with pytest.raises(ValueError, match=f"{root} is in use.*{os.getpid()}"):
        workdir.claim(root, CONFIG, "d1", overwrite=overwrite)
    assert _sums(root) == before
  assert workdir.claim(root, CONFIG, "d1").resumed


def test_killed_process_leaves_no_lock_fc_18(tmp_path):
  root = tmp_path / "run"
  code = (
    "import sys, time; from bidfcl_jax.report.workdir import claim\n"
    f"run = claim({str(root)!r}, {CONFIG!r}, 'd1')\n"
    "print('claimed', flush=True); time.sleep(60)"
  )
  child = subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
  )
  try:
    assert child.stdout.readline() == "claimed\n"
    with pytest.raises(ValueError, match=f"process {child.pid} on"):
      workdir.claim(root, CONFIG, "d1")
  finally:
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
  with workdir.claim(root, CONFIG, "d1") as run:
    assert run.resumed


def test_overwrite_starts_afresh_and_keeps_foreign_files(tmp_path):
  root = tmp_path / "run"
  _run(root)
  old = _sums(root)
  (root / "notes.txt").write_text("mine")
  with workdir.claim(root, CHANGED, "d2", overwrite=True) as run:
    assert not run.resumed
    left = {path.name for path in root.iterdir()}
    assert left == {"config.json", "lock", "notes.txt", "replaced-1"}
  aside = _sums(root / "replaced-1")
  del old["lock"]
  assert aside == old
  assert workdir.read_config(root)["config"]["bilevel"]["n_cg"] == 20
  _run(root, overwrite=True)
  assert (root / "replaced-2").is_dir() and _sums(root / "replaced-1") == aside
  assert (root / "notes.txt").read_text() == "mine"


def test_kill_while_overwriting_leaves_a_consistent_folder(
  tmp_path, monkeypatch
):
  rename = os.rename
  for stop in range(4):
    root = tmp_path / f"run{stop}"
    _run(root)
    calls = []

    def killed(source, target, stop=stop, calls=calls):
      if len(calls) == stop:
        raise KeyboardInterrupt
      calls.append(source)
      rename(source, target)

    monkeypatch.setattr(os, "rename", killed)
    if stop < 3:
      with pytest.raises(KeyboardInterrupt):
        workdir.claim(root, CHANGED, "d1", overwrite=True)
      assert (root / "result.json").exists()
    else:
      workdir.claim(root, CHANGED, "d1", overwrite=True).close()
    monkeypatch.setattr(os, "rename", rename)
    workdir.claim(root, CHANGED, "d1", overwrite=True).close()


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folder_is_never_taken(tmp_path, overwrite):
  (tmp_path / "thesis.tex").write_text("x")
  with pytest.raises(ValueError, match="holds 'thesis.tex' but no config.json"):
    workdir.claim(tmp_path, CONFIG, "d1", overwrite=overwrite)
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
  for content in ('{"model": "bert"}', "", "[1]"):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json is not of this package"):
      workdir.claim(tmp_path, CONFIG, "d1", overwrite=overwrite)
    assert (tmp_path / "config.json").read_text() == content
  with pytest.raises(ValueError, match="is a file"):
    workdir.claim(tmp_path / "thesis.tex", CONFIG, "d1")


def test_left_over_temporary_files_do_not_disturb_fc_18(tmp_path):
  root = tmp_path / "run"
  root.mkdir()
  # Killed while writing the very first config.json ...
  left = root / f".config.json.{'0' * 32}.tmp"
  left.write_text('{"pack')
  _run(root, finish=False)
  assert not left.exists()
  # ... and later while writing the result.
  left = root / f".result.json.{'f' * 32}.tmp"
  left.write_text("{")
  with workdir.claim(root, CONFIG, "d1") as run:
    assert run.resumed and not left.exists()
    assert (root / "fits" / "state").read_bytes() == b"123"
    run.finish({"eom": 1})
  assert json.loads((root / "result.json").read_text()) == {"eom": 1}


def test_two_default_folders_in_one_second_fc_18(tmp_path):
  now = datetime.datetime(2025, 3, 1, 12, 0, 5)
  with ThreadPoolExecutor(8) as pool:
    folders = list(
      pool.map(
        lambda _: workdir.default_workdir("FT", tmp_path / "runs", now=now),
        range(8),
      )
    )
  assert len(set(folders)) == 8
  assert sorted(folders)[0].name == "FT-20250301-120005"
  assert (tmp_path / "runs" / "FT-20250301-120005-8").is_dir()
  with workdir.claim(folders[0], CONFIG, "d1") as run:
    assert not run.resumed
  name = workdir.default_workdir("a/b", tmp_path).relative_to(tmp_path)
  assert name.parts[0].startswith("a-b-")


def test_relative_odd_folder_works_fc_18(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  root = Path("meine Läufe") / "größe 1"
  _run(root)
  with pytest.raises(ValueError, match="meine Läufe/größe 1 refused"):
    workdir.claim(root, CONFIG, "d1")
  _run(root, overwrite=True)
