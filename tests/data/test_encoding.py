import json

import numpy as np
import pytest

from bidfcl_jax.data.encoding import (
  MAX_LEVELS,
  FeatureCoding,
  declared_columns,
  learn_coding,
)
from bidfcl_jax.data.parsing import parse_csv

TEXT = """age,city,shop
30,Rome,1
,Oslo,1.0
50,Rome,2
40,,10
"""


def table(text=TEXT):
  return parse_csv("t.csv", text.encode(), ["age", "city", "shop"])


def learn(text=TEXT, one_hot=("city", "shop"), impute="all", **settings):
  rows = table(text)
  columns = declared_columns(["age", "city", "shop"], one_hot, impute)
  return learn_coding(rows, columns, **settings)


def test_levels_fill_values_and_order_of_names():
  coding = learn()
  assert coding.names == (
    "age", "city=Oslo", "city=Rome", "shop=1", "shop=2", "shop=10"
  )  # fmt: skip
  want = [
    [30, 0, 1, 1, 0, 0],
    [40, 1, 0, 1, 0, 0],
    [50, 0, 1, 0, 1, 0],
    # The most frequent city.
    [40, 0, 1, 0, 0, 1],
  ]
  np.testing.assert_array_equal(coding.apply(table()), want)


def test_median_and_mean_differ():
  text = "age,city,shop\n0,a,1\n0,a,1\n9,a,1\n,a,1\n"
  for statistic, value in (("mean", 3.0), ("median", 0.0)):
    assert learn(text, impute_by=statistic).columns[0].fill == value
  with pytest.raises(ValueError, match="'mode' is not one of mean, median"):
    learn(impute_by="mode")


def test_later_rows_are_coded_by_what_was_learnt(caplog):
  later = table("age,city,shop\n,Bern,2.0\n1,Oslo,3\n")
  coding = learn()
  got = coding.apply(later)
  np.testing.assert_array_equal(got, [[40, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0]])
  assert "column 'city': 1 row(s)" in caplog.text
  assert "'Bern' at line 2" in caplog.text
  assert "'3' at line 3" in caplog.text


def test_record_survives_json_and_is_hashable():
  coding = learn()
  again = FeatureCoding.from_json(json.loads(json.dumps(coding.to_json())))
  assert again == coding
  assert hash(again) == hash(coding)
  np.testing.assert_array_equal(again.apply(table()), coding.apply(table()))


@pytest.mark.parametrize(
  ("cell", "message"),
  [
    ("", "line 3, column 'age': the cell is empty"),
    ("x", "line 3, column 'age': 'x' is not a number"),
    ("inf", "line 3, column 'age': 'inf' is not finite"),
  ],
)
def test_fc_04_default_is_refusal(cell, message):
  later = table(f"age,city,shop\n1,Rome,1\n{cell},Rome,1\n")
  coding = learn(TEXT.replace("\n,Oslo", "\n40,Oslo"), impute=("city",))
  with pytest.raises(ValueError, match=message):
    coding.apply(later)


def test_fc_04_impute_fills_empty_cells_only():
  for cell in ("x", "inf", "NaN"):
    with pytest.raises(ValueError, match=f"line 2, column 'age': '{cell}'"):
      learn().apply(table(f"age,city,shop\n{cell},Rome,1\n"))


def test_empty_word_without_impute_is_refused():
  with pytest.raises(ValueError, match="line 5, column 'city'.*empty"):
    learn(impute=("age",))


def test_what_cannot_be_learnt_is_refused():
  with pytest.raises(ValueError, match="column 'age': every cell"):
    learn("age,city,shop\n,a,1\n")
  many = "\n".join(f"1,c{i},1" for i in range(MAX_LEVELS + 1))
  with pytest.raises(ValueError, match="column 'city' has 257 levels"):
    learn(f"age,city,shop\n{many}\n")
  with pytest.raises(ValueError, match="one_hot names 'town'"):
    learn(one_hot=("town",))
  with pytest.raises(ValueError, match="impute='age': give a list"):
    learn(impute="age")
