import gzip

import numpy as np
import polars as pl
import pytest

from bidfcl_jax.data.parsing import (
  parse_csv,
  read_bytes,
  read_table,
  warn_unless_sha256,
)


def write(folder, text, name="t.csv"):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def thousand(rows=1000):
  return b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * 7) for i in range(rows))


def test_fc_04_truncated_gzip_is_refused_with_its_name(tmp_path):
  path = write(tmp_path, gzip.compress(thousand())[:-20], "cut.csv.gz")
  with pytest.raises(ValueError, match=r"cut\.csv\.gz.*cut short"):
    read_table(path, ["a"])


def test_fc_04_damaged_gzip_is_refused_with_its_name(tmp_path):
  raw = bytearray(gzip.compress(thousand()))
  raw[len(raw) // 2] ^= 0xFF
  with pytest.raises(ValueError, match=r"bad\.csv\.gz"):
    read_table(write(tmp_path, bytes(raw), "bad.csv.gz"), ["a"])


def test_fc_04_gzip_of_two_members_is_read_whole(tmp_path):
  raw = gzip.compress(thousand()) + gzip.compress(b"5,6\n")
  table = read_table(write(tmp_path, raw, "two.csv.gz"), ["b", "a"])
  assert len(table) == 1001
  assert table.cells.row(-1) == ("6", "5")
  assert table.lines[-1] == 1002


def test_fc_04_quoted_header_plain_and_gzip(tmp_path):
  text = b'"a","b, c"\r\n"1","2"\r\n3,4\r\n'
  for raw in (text, gzip.compress(text), b"\xef\xbb\xbf" + text):
    table = read_table(write(tmp_path, raw), ["b, c"])
    assert table.cells["b, c"].to_list() == ["2", "4"]
    assert table.lines.tolist() == [2, 3]


def test_cells_stay_text_whatever_they_look_like(tmp_path):
  cells = ["2020-01-01", "NA", "007", '"1,000"', "true", "null", "1e3"]
  path = write(tmp_path, "a,b\n" + "".join(f"{c},0\n" for c in cells))
  want = [c.strip('"') for c in cells]
  assert read_table(path, ["a"]).cells["a"].to_list() == want


def test_lines_count_blank_lines_and_line_ends_inside_cells(tmp_path):
  text = '\n\na,b\n"x\ny",1\n\n"p\r\nq\nr",2\nz,"3"\n\n'
  table = read_table(write(tmp_path, text), ["a", "b"])
  assert table.cells["b"].to_list() == ["1", None, "2", "3"]
  assert table.lines.tolist() == [4, 6, 7, 10]


def test_kept_rows_remember_their_lines(tmp_path):
  table = read_table(write(tmp_path, thousand(5)), ["a"])
  kept = table.keep(np.array([False, True, False, True, True]))
  assert kept.lines.tolist() == [3, 5, 6]
  assert kept.cells["a"].to_list() == ["1", "3", "4"]


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", r"t\.csv: the file is empty"),
    ("\n \n".replace(" ", ""), "the file is empty"),
    ("a,b,a\n1,2,3\n", r"line 1: column 'a' stands 2 times"),
    ("a,b, a\n1,2,3\n", r"column 'a' stands 2 times"),
    ("a,b\n1,2\n3\n", "line 3: 1 cells where the header has 2"),
    ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells where the header has 2"),
    ('a,b\n1,2\n3,"4\n5,6\n', r"t\.csv, line 3"),
    (b"a,b\n1,2\n\xff,4\n", "line 3: byte 0xff is not UTF-8"),
  ],
)
def test_what_is_not_a_table_is_refused(tmp_path, text, message):
  with pytest.raises(ValueError, match=message):
    read_table(write(tmp_path, text), ["a"])


def test_missing_column_names_the_nearest_and_all(tmp_path):
  path = write(tmp_path, "recency,spend\n1,2\n")
  with pytest.raises(
    ValueError,
    match=r"no column 'recnecy'; did you mean 'recency'\?.*recency, spend",
  ):
    read_table(path, ["recnecy"])
  with pytest.raises(ValueError, match=r"no column 'zzz'; its columns"):
    read_table(path, ["zzz"])


def test_parquet_rows_are_counted_and_types_checked(tmp_path):
  path = tmp_path / "t.parquet"
  frame = pl.DataFrame(
    {"a": [1, 2], "b": ["x", None], "c": [1.5, None], "when": ["x", "y"]}
  ).with_columns(pl.lit("2020-01-01").str.to_date().alias("when"))
  frame.write_parquet(path)
  table = read_table(path, ["c", "a", "b"])
  assert table.cells.columns == ["c", "a", "b"]
  assert (table.unit, table.lines.tolist()) == ("row", [1, 2])
  with pytest.raises(ValueError, match="column 'when': Date is neither"):
    read_table(path, ["when"])
  with pytest.raises(ValueError, match="no column 'd'"):
    read_table(path, ["d"])
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(ValueError, match=r"t\.parquet: not a Parquet file"):
    read_table(path, ["a"])


def test_hash_warns_only_where_the_content_differs(tmp_path, caplog):
  known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  path = write(tmp_path, gzip.compress(b"abc"))
  warn_unless_sha256(path, read_bytes(path), known)
  assert not caplog.records
  warn_unless_sha256(path, b"abd", known)
  assert "not the published ba7816bf" in caplog.text


def test_one_row_and_no_row():
  assert len(parse_csv("t", b"a,b\n1,2", ["a"])) == 1
  assert len(parse_csv("t", b"a,b\n", ["a"])) == 0
