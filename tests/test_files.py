import enum
import json
import multiprocessing
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import files


class Colour(enum.IntEnum):
  RED = 3


def test_write_atomic_replaces_and_leaves_no_temporary(tmp_path):
  path = tmp_path / "a" / "b" / "x.txt"
  files.write_atomic(path, "eins")
  files.write_atomic(path, "zwei µ")
  assert path.read_text(encoding="utf-8") == "zwei µ"
  files.write_atomic(path, b"\x00\xff")
  assert path.read_bytes() == b"\x00\xff"
  assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


def test_write_atomic_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
  path = files.write_atomic(tmp_path / "x.txt", "old")

  def full(*_):
    raise OSError("no space")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="no space"):
    files.write_atomic(path, "new")
  assert path.read_text() == "old"
  assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_write_atomic_renames_within_the_folder(tmp_path, monkeypatch):
  seen = []
  replace = os.replace

  def spy(source, target):
    seen.append((Path(source), Path(source).read_text()))
    replace(source, target)

  monkeypatch.setattr(os, "replace", spy)
  files.write_atomic(tmp_path / "x.txt", "whole")
  ((source, content),) = seen
  assert source.parent == tmp_path and content == "whole"
  assert files.is_temporary(source)
  assert not files.is_temporary("x.txt") and not files.is_temporary(".x.tmp")


def test_json_takes_numpy_and_jax_and_makes_nan_null(tmp_path):
  value = {
    "scalar": np.float32(0.5),
    "whole": jnp.int32(3),
    "array": jnp.arange(4.0).reshape(2, 2),
    "half": jnp.ones(2, jnp.bfloat16),
    "flag": np.bool_(True),
    "bad": [np.nan, np.inf, -np.inf, np.array([1.0, np.nan])],
    "path": Path("a") / "b",
    "enum": Colour.RED,
    "tuple": (1, None, "ü"),
    7: "number key",
  }
  path = files.write_json(tmp_path / "x.json", value)
  assert json.loads(path.read_text(encoding="utf-8")) == {
    "scalar": 0.5,
    "whole": 3,
    "array": [[0, 1], [2, 3]],
    "half": [1, 1],
    "flag": True,
    "bad": [None, None, None, [1, None]],
    "path": "a/b",
    "enum": 3,
    "tuple": [1, None, "ü"],
    "7": "number key",
  }


def test_json_keeps_float64_and_odd_file_names(tmp_path):
  name = os.fsdecode(b"caf\xe9")
  path = files.write_json(tmp_path / "x.json", {"v": np.pi, "name": name})
  assert json.loads(path.read_text()) == {"v": np.pi, "name": name}


def test_json_refuses_with_the_place(tmp_path):
  with pytest.raises(ValueError, match=r"value\.a\[1\] is a set"):
    files.write_json(tmp_path / "x.json", {"a": [1, {2}]})
  with pytest.raises(ValueError, match=r"value\.z is a ndarray"):
    files.write_json(tmp_path / "x.json", {"z": np.array([1j])})
  assert not list(tmp_path.iterdir())


def test_lines_round_trip_in_an_odd_folder_fc_18(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = Path("Läufe und mehr") / "ж.jsonl"
  records = [{"step": i, "text": "a\nb\u2028ü"} for i in range(3)]
  for record in records:
    files.append_line(path, record)
  assert files.read_lines(path) == records
  assert path.read_bytes().count(b"\n") == 3
  assert files.read_lines("absent.jsonl") == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_torn_last_line_is_passed_over_and_cut_off_fc_18(tmp_path, cut):
  path = tmp_path / "m.jsonl"
  files.append_line(path, {"step": 0})
  whole = path.read_bytes()
  path.write_bytes(whole + b'{"step": 1}\n'[:-cut])
  # Without its newline alone (cut 1) the line is whole and counts.
  kept = [{"step": 0}, {"step": 1}][: 2 if cut == 1 else 1]
  assert files.read_lines(path) == kept
  files.append_line(path, {"step": 2})
  assert files.read_lines(path) == [*kept, {"step": 2}]
  assert path.read_bytes().endswith(b'{"step": 2}\n')


def test_torn_line_longer_than_a_block(tmp_path):
  path = tmp_path / "m.jsonl"
  files.append_line(path, {"step": 0})
  path.write_bytes(path.read_bytes() + b'{"x": "' + b"a" * 200_000)
  files.append_line(path, {"step": 1})
  assert files.read_lines(path) == [{"step": 0}, {"step": 1}]


def test_short_write_is_undone_fc_18(tmp_path, monkeypatch):
  path = tmp_path / "m.jsonl"
  files.append_line(path, {"step": 0})
  before = path.read_bytes()
  write = os.write
  monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
  with pytest.raises(OSError, match="no room"):
    files.append_line(path, {"step": 1})
  assert path.read_bytes() == before


def test_broken_middle_line_is_named(tmp_path):
  path = tmp_path / "m.jsonl"
  path.write_text('{"a": 1}\noops\n{"a": 2}\n')
  with pytest.raises(ValueError, match=r"m\.jsonl, line 2"):
    files.read_lines(path)
  with pytest.raises(ValueError, match="must be a dict"):
    files.append_line(path, [1])


def _append_many(path, worker):
  for step in range(50):
    files.append_line(path, {"worker": worker, "text": "x" * 3000, "s": step})


def test_lines_of_two_processes_do_not_mix(tmp_path):
  path = tmp_path / "m.jsonl"
  context = multiprocessing.get_context("forkserver")
  workers = [
    context.Process(target=_append_many, args=(path, i)) for i in range(2)
  ]
  for worker in workers:
    worker.start()
  for worker in workers:
    worker.join()
    assert worker.exitcode == 0
  lines = files.read_lines(path)
  assert sorted((r["worker"], r["s"]) for r in lines) == [
    (i, s) for i in range(2) for s in range(50)
  ]
