import gzip

import jax
import numpy as np
import polars as pl
import pytest

from bidfcl_jax.data import load_table, standardise
from bidfcl_jax.data.parsing import read_table

KEY = jax.random.key(0)
ARMS = ("none", "10", "20")
COLUMNS = ("id", "home", "age", "past", "offer", "sales", "cost", "source")


def rows(n=120, arms=ARMS, seed=0):
  """Rows as lists of text: a third logged, the rest randomised."""
  rng = np.random.default_rng(seed)
  arm = rng.integers(len(arms), size=n)
  return [
    [
      str(i),
      f"h{i // 2}",
      f"{rng.normal(40, 9):.3f}",
      f"{rng.normal():.4f}",
      arms[arm[i]],
      f"{rng.gamma(2.0) + arm[i]:.3f}",
      f"{0.5 * arm[i]:.1f}",
      "obs" if i < n // 3 else "RCT",
    ]
    for i in range(n)
  ]


def write(folder, cells, name="t.csv", header=COLUMNS):
  text = "\n".join(",".join(row) for row in [header, *cells]).encode() + b"\n"
  path = folder / name
  path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
  return path


def load(path, **changes):
  settings = {
    "features": ["age", "past"],
    "arms": ARMS,
    "arm_column": "offer",
    "revenue_column": "sales",
    "cost_column": "cost",
    "source_column": "source",
    "key": KEY,
  }
  return load_table(path, **(settings | changes))


def parts(study):
  return (study.obs, study.rct_train, study.rct_valid, study.rct_test)


def every(study, name):
  return np.concatenate([getattr(part, name) for part in parts(study)])


def test_rows_arrive_once_and_in_original_units(tmp_path):
  cells = rows()
  study = load(write(tmp_path, cells))
  assert [len(p) for p in parts(study)] == [40, 40, 16, 24]
  assert study.feature_names == ("age", "past")
  assert study.arm_names == ARMS
  assert study.known_cost is None
  ours = sorted(
    zip(
      every(study, "arm").tolist(),
      every(study, "revenue").round(3).tolist(),
      every(study, "cost").tolist(),
      strict=True,
    )
  )
  want = sorted(
    (ARMS.index(c[4]), np.float32(c[5]).round(3).item(), float(c[6]))
    for c in cells
  )
  np.testing.assert_allclose(ours, want, rtol=1e-6)
  np.testing.assert_allclose(
    study.obs.revenue, [float(c[5]) for c in cells[:40]], rtol=1e-6
  )
  raw = study.scalers.feature_mean + (
    study.obs.features * study.scalers.feature_scale
  )
  np.testing.assert_allclose(
    raw, [[float(c[2]), float(c[3])] for c in cells[:40]], rtol=1e-4, atol=1e-5
  )


def test_gzip_and_parquet_give_the_same_study(tmp_path):
  cells = rows()
  plain = load(write(tmp_path, cells))
  frame = pl.read_csv(write(tmp_path, cells))
  frame.write_parquet(tmp_path / "t.parquet")
  for path in (write(tmp_path, cells, "t.csv.gz"), tmp_path / "t.parquet"):
    other = load(path)
    for one, two in zip(
      jax.tree.leaves(plain), jax.tree.leaves(other), strict=True
    ):
      np.testing.assert_array_equal(one, two)


def test_another_key_is_another_split(tmp_path):
  path = write(tmp_path, rows())
  one, two = load(path), load(path, key=jax.random.key(1))
  assert not np.array_equal(one.rct_test.revenue, two.rct_test.revenue)
  np.testing.assert_array_equal(one.obs.revenue, two.obs.revenue)


def test_fc_01_arm_codes_do_not_depend_on_what_the_file_holds(tmp_path):
  cells = [c for c in rows() if c[7] == "RCT" or c[4] != "10"]
  study = load(write(tmp_path, cells))
  assert study.arms == 3
  assert set(study.obs.arm.tolist()) == {0, 2}
  want = [ARMS.index(c[4]) for c in cells if c[7] == "obs"]
  assert study.obs.arm.tolist() == want
  turned = load(write(tmp_path, cells), arms=("none", "20", "10"))
  assert set(turned.obs.arm.tolist()) == {0, 1}


def test_fc_01_rct_without_control_names_it_and_the_labels_seen(tmp_path):
  cells = [c for c in rows() if c[7] == "obs" or c[4] != "none"]
  with pytest.raises(
    ValueError, match="no RCT row of the control arm 'none'.*are 10, 20;"
  ):
    load(write(tmp_path, cells), propensity=(0.4, 0.3, 0.3))


def test_fc_02_rct_without_an_arm_is_refused(tmp_path):
  cells = [c for c in rows() if c[7] == "obs" or c[4] != "20"]
  with pytest.raises(ValueError, match="no RCT row of arm '20'.*none, 10"):
    load(write(tmp_path, cells))


def test_fc_02_declared_propensity_comes_before_counts(tmp_path):
  path = write(tmp_path, rows())
  train = load(path).rct_train.arm
  np.testing.assert_allclose(
    load(path).propensity, np.bincount(train) / len(train)
  )
  declared = load(path, propensity=(0.5, 0.25, 0.25)).propensity
  np.testing.assert_allclose(declared, (0.5, 0.25, 0.25))
  with pytest.raises(ValueError, match="add up to"):
    load(path, propensity=(0.5, 0.25, 0.5))


@pytest.mark.parametrize("place", [2, 5, 6, 4, 7])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_fc_04_empty_cell_is_refused_or_dropped_by_option(
  tmp_path, caplog, place, name
):
  cells = rows()
  cells[2][place] = ""
  path = write(tmp_path, cells, name, [f'"{c}"' for c in COLUMNS])
  with pytest.raises(
    ValueError, match=f"{name}, line 4, column '{COLUMNS[place]}'"
  ):
    load(path)
  study = load(path, drop_bad_rows=True)
  assert "1 row dropped, the first at line 4" in caplog.text
  assert sum(len(p) for p in parts(study)) == len(cells) - 1
  assert len(study.obs) == 39


def test_fc_04_drop_counts_rows_not_cells(tmp_path, caplog):
  cells = rows()
  cells[5][2], cells[5][5], cells[9][3] = "inf", "NaN", "word"
  study = load(write(tmp_path, cells), drop_bad_rows=True)
  assert "2 rows dropped, the first at line 7" in caplog.text
  assert len(study.obs) == 38
  caplog.clear()
  load(write(tmp_path, rows()), drop_bad_rows=True)
  assert not caplog.records


@pytest.mark.parametrize("cell", ["inf", "-inf", "NaN", "NA", "1_000"])
@pytest.mark.parametrize("place", [3, 5, 6])
def test_fc_04_no_number_no_entry(tmp_path, cell, place):
  cells = rows()
  cells[7][place] = cell
  with pytest.raises(
    ValueError, match=f"line 9, column '{COLUMNS[place]}': '{cell}' is not"
  ):
    load(write(tmp_path, cells))


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize(
  ("place", "cell", "message"),
  [
    (4, "30", "column 'offer': '30' is not one of the declared none, 10, 20"),
    (4, "10.5", "column 'offer': '10.5' is not one of"),
    (7, "trial", "column 'source': 'trial' is not one of the declared obs"),
    (6, "-0.5", "column 'cost': '-0.5' is a negative cost"),
  ],
)
def test_fc_04_what_contradicts_the_declaration_is_never_dropped(
  tmp_path, place, cell, message, drop
):
  cells = rows()
  cells[60][place] = cell
  with pytest.raises(ValueError, match=f"line 62, {message}"):
    load(write(tmp_path, cells), drop_bad_rows=drop)


def test_fc_04_arm_written_as_a_float_is_the_same_arm(tmp_path):
  cells = rows()
  path = write(tmp_path, cells)
  want = every(load(path), "arm")
  for c in cells:
    c[4] = {"10": "10.0", "20": "2e1"}.get(c[4], c[4])
  assert every(load(write(tmp_path, cells)), "arm").tolist() == want.tolist()


def test_fc_06_negative_cost_is_allowed_only_by_option(tmp_path):
  cells = rows()
  cells[0][6] = "-0.5"
  study = load(write(tmp_path, cells), allow_negative_cost=True)
  assert study.obs.cost[0] == -0.5


def test_known_costs_fill_every_row(tmp_path):
  cells = rows()
  study = load(write(tmp_path, cells), cost_column=None, arm_costs=(0, 1, 3))
  np.testing.assert_array_equal(study.known_cost, (0, 1, 3))
  for part in parts(study):
    np.testing.assert_array_equal(part.cost, np.array((0, 1, 3))[part.arm])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"arm_costs": (0, 1, 2)}, "exactly one of cost_column"),
    ({"cost_column": None}, "exactly one of cost_column"),
    ({"cost_column": None, "arm_costs": (0, 1)}, "each of the 3 arms"),
    ({"features": ["age", "sales"]}, "'sales' is declared both"),
    ({"features": ["age", "age"]}, "'age' is declared twice"),
    ({"features": "age"}, "list of column names"),
    ({"features": []}, "list of column names"),
    ({"features": ["aeg"]}, "no column 'aeg'; did you mean 'age'"),
    ({"features": ["age", "home"]}, "column 'home': 'h0' is not a number"),
    ({"valid": 0.5, "test": 0.5}, "leave a share for training"),
    ({"arms": ("none", "10")}, "column 'offer': '20' is not one of"),
  ],
)
def test_statements_that_cannot_hold_are_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    load(write(tmp_path, rows()), **changes)


@pytest.mark.parametrize("source", ["obs", "rct"])
def test_both_sources_are_needed(tmp_path, source):
  cells = [c for c in rows() if c[7].lower() != source]
  with pytest.raises(ValueError, match=f"has no {source.upper()} row"):
    load(write(tmp_path, cells))


def test_empty_tables_are_refused(tmp_path):
  with pytest.raises(ValueError, match="no row is left"):
    load(write(tmp_path, []))
  cells = rows(6)
  for c in cells:
    c[2] = ""
  with pytest.raises(ValueError, match="no row is left"):
    load(write(tmp_path, cells), drop_bad_rows=True)


def test_groups_stay_together(tmp_path):
  cells = rows(600)
  study = load(write(tmp_path, cells), group_column="home")
  homes = [set(part.group.tolist()) for part in parts(study)]
  assert sum(len(h) for h in homes) == len(set.union(*homes)) == 300
  for part in parts(study):
    assert np.bincount(part.group).max() == 2
  # Codes say which rows belong together.
  want = np.repeat(np.arange(100), 2)
  _, first = np.unique(study.obs.group, return_inverse=True)
  assert len(set(zip(first.tolist(), want.tolist(), strict=True))) == 100


def test_a_group_with_both_sources_is_refused(tmp_path):
  cells = rows()
  cells[100][1] = "h3"
  with pytest.raises(ValueError, match="line 8, column 'home': group 'h3'"):
    load(write(tmp_path, cells), group_column="home")


def test_an_id_that_stands_twice_is_refused(tmp_path):
  cells = rows()
  load(write(tmp_path, cells), id_column="id")
  cells[50][0] = "7"
  with pytest.raises(ValueError, match="line 52, column 'id': the id '7'"):
    load(write(tmp_path, cells), id_column="id")


def test_fc_05_a_single_row_of_each_kind_is_refused_not_nan(tmp_path):
  cells = rows(3)
  with pytest.raises(ValueError, match="no RCT row of"):
    load(write(tmp_path, cells))


def test_budget_is_kept(tmp_path):
  assert load(write(tmp_path, rows()), budget=0.25).budget == 0.25


def worded(cells):
  """Gives rows a town as `past` and their number as sales; some no age."""
  for i, row in enumerate(cells):
    row[5] = str(i)
    row[3] = ("Rome", "Oslo")[i % 2]
    if i % 7 == 0:
      row[2] = ""
  return cells


def test_fc_04_words_and_empty_cells_by_option_only(tmp_path):
  path = write(tmp_path, worded(rows()))
  with pytest.raises(ValueError, match="line 2, column 'age': .* is empty"):
    load(path, one_hot=["past"])
  with pytest.raises(ValueError, match="line 2, column 'past': 'Rome' is not"):
    load(path, impute="all")
  study = load(path, one_hot=["past"], impute=["age"])
  assert study.feature_names == ("age", "past=Oslo", "past=Rome")
  # Dropped rows are those that the options do not save.
  few = load(path, one_hot=["past"], drop_bad_rows=True)
  assert len(every(few, "arm")) == 120 - 18


def test_fc_04_imputation_uses_training_rows_only(tmp_path):
  cells = worded(rows())
  first = load(write(tmp_path, cells), one_hot=["past"], impute=["age"])
  held = {*first.rct_valid.revenue, *first.rct_test.revenue}
  changed = 0
  for i, row in enumerate(cells):
    if i in held:
      row[2], row[3] = "9999", "Bern"
      changed += 1
  assert changed == 40
  second = load(write(tmp_path, cells), one_hot=["past"], impute=["age"])
  assert second.coding == first.coding
  for part in ("obs", "rct_train"):
    np.testing.assert_array_equal(
      getattr(second, part).features, getattr(first, part).features
    )
  ages = [float(r[2]) for r in cells if r[2] not in ("", "9999")]
  assert second.coding.columns[0].fill == pytest.approx(np.mean(ages))
  # A town that no training row has is in no column of its own.
  scale, mean = second.scalers.feature_scale, second.scalers.feature_mean
  raw = second.rct_test.features * scale + mean
  np.testing.assert_allclose(raw[:, 1:], 0, atol=1e-6)


def test_coding_makes_the_same_features_of_the_file(tmp_path):
  path = write(tmp_path, worded(rows()))
  study = load(path, one_hot=["past"], impute="all", impute_by="median")
  table = read_table(path, study.coding.inputs)
  again = standardise(study.scalers, study.coding.apply(table))
  ours = every(study, "features")
  np.testing.assert_array_equal(
    again[np.lexsort(again.T)], ours[np.lexsort(ours.T)]
  )
  assert load(write(tmp_path, rows())).coding.names == ("age", "past")
