import gzip

import numpy as np
import polars as pl
import pytest

from bidfcl_jax.data.parsing import read_table
from bidfcl_jax.data.stream import column_names, stream_table

TEXT = 'id,"x",note\n' + "".join(
  f'{i},{i / 4},"a ""{i}"" b\nc"\n' if i % 3 else f"{i},{i / 4},plain\n"
  for i in range(50)
)


def written(path, kind):
  if kind == "csv":
    path.write_text(TEXT)
  elif kind == "csv.gz":
    path.write_bytes(gzip.compress(TEXT.encode()))
  else:
    read = {"id": range(50), "x": np.arange(50) / 4, "note": ["n"] * 50}
    pl.DataFrame(read).write_parquet(path, row_group_size=16)
  return path


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("piece", [1, 37, 10_000])
def test_pieces_add_up_to_the_whole_table(tmp_path, kind, piece):
  path = written(tmp_path / f"table.{kind}", kind)
  whole = read_table(path, ["id", "note", "x"])
  parts = list(stream_table(path, ["id", "note", "x"], rows=7, piece=piece))
  assert max(map(len, parts)) <= 7
  assert pl.concat([part.cells for part in parts]).equals(whole.cells)
  lines = np.concatenate([part.lines for part in parts])
  np.testing.assert_array_equal(lines, whole.lines)
  assert {part.unit for part in parts} == {whole.unit}
  assert column_names(path) == ["id", "x", "note"]


def test_fc_04_a_row_too_short_in_a_later_piece_is_named_by_its_line(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text("a,b\n" + "1,2\n" * 30 + "1\n" + "1,2\n" * 30)
  with pytest.raises(ValueError, match=r"line 32: 1 cells"):
    list(stream_table(path, ["a", "b"], piece=16))


@pytest.mark.parametrize("piece", [3, 9, 1000])
def test_fc_04_a_blank_line_is_a_flawed_row_wherever_the_cut_falls(
  tmp_path, piece
):
  path = tmp_path / "t.csv"
  path.write_text("a,b\n1,2\n\n3,4\n\n\n")
  tables = list(stream_table(path, ["a"], piece=piece))
  cells = pl.concat([table.cells for table in tables])["a"].to_list()
  assert cells == read_table(path, ["a"]).cells["a"].to_list()


def test_fc_04_gzip_cut_short_and_files_without_rows_are_refused(tmp_path):
  cut = tmp_path / "cut.csv.gz"
  cut.write_bytes(gzip.compress(TEXT.encode())[:-20])
  with pytest.raises(ValueError, match="cut.csv.gz.*cut short"):
    list(stream_table(cut, ["x"]))
  bare = tmp_path / "bare.csv"
  bare.write_text("a,b\n")
  with pytest.raises(ValueError, match="bare.csv has no row"):
    list(stream_table(bare, ["a"]))
  with pytest.raises(ValueError, match="no column 'c'"):
    list(stream_table(bare, ["c"]))
  bare.write_text("")
  with pytest.raises(ValueError, match="empty"):
    list(stream_table(bare, ["a"]))
