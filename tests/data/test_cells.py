import numpy as np
import polars as pl
import pytest

from bidfcl_jax.data.cells import (
  choices,
  numbers,
  refuse_flaws,
  refuse_outside,
  words,
)
from bidfcl_jax.data.parsing import Table, parse_csv


def column(*cells):
  text = "a,b\n" + "".join(f"{c},9\n" for c in cells)
  return parse_csv("t.csv", text.encode(), ["a", "b"])


def parquet(values):
  cells = pl.DataFrame({"a": values})
  return Table("t.parquet", cells, np.arange(len(cells)) + 1, "row")


def test_numbers_are_read_to_the_last_digit():
  rng = np.random.default_rng(0)
  values = rng.normal(size=2000) * 10.0 ** rng.integers(-30, 30, 2000)
  table = column(*[repr(float(v)) for v in values])
  np.testing.assert_array_equal(numbers(table, "a"), values)


def test_numbers_convert_nothing_by_guess():
  bad = ["", "NA", "NaN", "1_000", '"1,000"', "0x10", "true", "2020-01-01", "-"]
  assert np.isnan(numbers(column(*bad), "a")).all()
  good = numbers(column(" 1 ", "+2", "3.", ".5", "1E3", '" 7"'), "a")
  assert good.tolist() == [1, 2, 3, 0.5, 1000, 7]


@pytest.mark.parametrize(
  ("cell", "reason"),
  [
    ("", "the cell is empty"),
    ('" "', "the cell is empty"),
    ("NaN", "'NaN' is not a number"),
    ("inf", "'inf' is not finite"),
    ("-Infinity", "'-Infinity' is not finite"),
    ("1e400", "'1e400' is not finite"),
    ("Urban", "'Urban' is not a number .*named in one_hot"),
  ],
)
def test_fc_04_bad_cell_names_line_column_and_cell(cell, reason):
  with pytest.raises(ValueError, match=f"t.csv, line 4, column 'a': {reason}"):
    refuse_flaws(column("1", "2", cell, "x"), ["b", "a"])


def test_earliest_line_is_refused_whatever_the_order_of_columns():
  table = parse_csv("t.csv", b"a,b\n1,2\n1,\n,2\n", ["a", "b"])
  with pytest.raises(ValueError, match="line 3, column 'b'"):
    refuse_flaws(table, ["a", "b"])
  with pytest.raises(ValueError, match="line 3, column 'b'"):
    refuse_flaws(table, ["a"], ["b"])
  refuse_flaws(table.keep(np.array([True, False, False])), ["a", "b"])


def test_parquet_flaws_are_named_by_row():
  for values in ([1.0, None], [1.0, float("nan")], [1.0, float("inf")]):
    with pytest.raises(ValueError, match="t.parquet, row 2, column 'a'"):
      refuse_flaws(parquet(values), ["a"])
  assert numbers(parquet([True, False]), "a").tolist() == [1, 0]
  assert words(parquet([1.0, float("nan")]), "a").to_list() == ["1.0", None]


def test_fc_01_codes_come_from_the_declared_list():
  arms = ("none", "10", "20")
  assert choices(column("20", "none", "10"), "a", arms).tolist() == [2, 0, 1]
  assert choices(column("none", "20"), "a", arms).tolist() == [0, 2]
  assert choices(parquet([20.0, 10.0]), "a", arms).tolist() == [2, 1]
  assert choices(parquet([20, 10]), "a", arms).tolist() == [2, 1]


def test_fc_04_arm_cells_match_by_text_or_by_value():
  arms = ("0", "1", "2")
  table = column("1.0", "1", "01", "2e0", " 2 ")
  assert choices(table, "a", arms).tolist() == [1, 1, 1, 2, 2]
  for cell in ("1.5", "nan", "one", "-1", "1_0"):
    with pytest.raises(
      ValueError,
      match=f"line 3, column 'a': '{cell}' is not one of the declared 0, 1, 2",
    ):
      choices(column("1", cell), "a", arms)


def test_case_is_ignored_only_where_asked():
  table = column("Yes", "no", "NO")
  assert choices(table, "a", ("no", "yes"), ignore_case=True).tolist() == [
    1,
    0,
    0,
  ]
  with pytest.raises(ValueError, match="'Yes' is not one of"):
    choices(table, "a", ("no", "yes"))


def test_values_outside_a_range_are_refused():
  table = column("1", "12", "13", "2.5")
  values = numbers(table, "a")
  refuse_outside(table, "a", values, 1, 13)
  with pytest.raises(ValueError, match="line 4, column 'a': '13' is not among"):
    refuse_outside(table, "a", values, 1, 12)
  with pytest.raises(ValueError, match="line 5.*'2.5'.*whole numbers"):
    refuse_outside(table, "a", values, 1, 13, whole=True)
