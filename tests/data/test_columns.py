import gzip

import numpy as np
import pytest

from bidfcl_jax.data import columns as columns_lib
from bidfcl_jax.data.columns import read_columns
from bidfcl_jax.data.published import BINARY, FINITE, Limits

FEATURES = {"a": FINITE, "b": Limits(0, 10)}
CODES = {"t": Limits(0, 4, whole=True), "y": BINARY}


def write(path, rows=50, seed=0):
  rng = np.random.default_rng(seed)
  cells = np.column_stack(
    [
      rng.integers(5, size=rows),
      rng.normal(size=rows).round(6),
      rng.integers(2, size=rows),
      rng.uniform(0, 10, rows).round(6),
    ]
  )
  lines = ["t,a,y,b", *(f"{t:.0f},{a},{y:.0f},{b}" for t, a, y, b in cells)]
  path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
  return cells


def test_pieces_join_to_the_whole_file(tmp_path, monkeypatch):
  cells = write(tmp_path / "x.csv.gz")
  # Several pieces, and arrays that grow on the way.
  monkeypatch.setattr(columns_lib, "_FIRST_ROWS", 8)
  pieces = columns_lib.stream_table
  told = []
  monkeypatch.setattr(
    columns_lib, "stream_table", lambda p, c: pieces(p, c, rows=7)
  )
  got = read_columns(
    tmp_path / "x.csv.gz",
    FEATURES,
    CODES,
    check=lambda table, codes: told.append(codes.copy()),
  )
  np.testing.assert_array_equal(got.features, cells[:, [1, 3]].astype("f4"))
  np.testing.assert_array_equal(got.codes, cells[:, [0, 2]])
  assert (got.features.dtype, got.codes.dtype) == (np.float32, np.uint8)
  assert [len(piece) for piece in told] == [7] * 7 + [1]
  np.testing.assert_array_equal(np.concatenate(told), got.codes)
  part = read_columns(tmp_path / "x.csv.gz", FEATURES, CODES, rows=10)
  np.testing.assert_array_equal(part.features, got.features[:10])


def test_cache_is_read_and_follows_the_file(tmp_path, monkeypatch):
  path, cache = tmp_path / "x.csv.gz", tmp_path / "cache é"
  write(path)
  first = read_columns(path, FEATURES, CODES, cache=cache)
  assert len(list(cache.iterdir())) == 2
  with monkeypatch.context() as patch:
    patch.setattr(columns_lib, "stream_table", None)
    again = read_columns(path, FEATURES, CODES, cache=cache)
  np.testing.assert_array_equal(again.features, first.features)
  np.testing.assert_array_equal(again.codes, first.codes)
  # Other columns, fewer rows and another file are other arrays.
  few = read_columns(path, FEATURES, CODES, rows=3, cache=cache)
  assert len(few.codes) == 3
  assert read_columns(path, {}, CODES, cache=cache).features.shape == (50, 0)
  cells = write(path, rows=60, seed=1)
  other = read_columns(path, FEATURES, CODES, cache=cache)
  np.testing.assert_array_equal(other.codes, cells[:, [0, 2]])


def test_digest_is_compared_when_the_whole_file_is_read(tmp_path, caplog):
  path, cache = tmp_path / "x.csv.gz", tmp_path / "cache"
  write(path)
  settings = {"cache": cache, "digest": ("md5", "0" * 32)}
  read_columns(path, FEATURES, CODES, rows=3, **settings)
  assert not caplog.records
  read_columns(path, FEATURES, CODES, **settings)
  assert "md5 of the file is" in caplog.text
  caplog.clear()
  read_columns(path, FEATURES, CODES, **settings)
  assert not caplog.records


def test_no_cache_is_left_of_a_file_that_is_refused(tmp_path):
  path, cache = tmp_path / "x.csv.gz", tmp_path / "cache"
  write(path)
  with pytest.raises(ValueError, match="x.csv.gz, line .*, column 'b'"):
    read_columns(path, {"b": Limits(0, 1)}, CODES, cache=cache)
  assert not cache.exists()
  with pytest.raises(ValueError, match="rows=0"):
    read_columns(path, FEATURES, CODES, rows=0)
