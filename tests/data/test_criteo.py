import gzip
import hashlib

import jax
import numpy as np
import pytest
from real_files import real_file
from scipy.spatial import cKDTree

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data import criteo, load_criteo
from experiments.bench.criteo_file import block

KEY = jax.random.key(0)
HEADER = ",".join([*(f"f{i}" for i in range(12)), *criteo.CODES])
ROWS = 6000


@pytest.fixture(scope="module")
def text():
  return f"{HEADER}\n{block(ROWS).decode()}"


@pytest.fixture(scope="module")
def file(text, tmp_path_factory):
  path = tmp_path_factory.mktemp("criteo") / "c.csv.gz"
  path.write_bytes(gzip.compress(text.encode()))
  return path


def parts(study):
  return (study.obs, study.rct_train, study.rct_valid, study.rct_test)


def test_split_and_size_of_obs_are_the_papers(file, caplog):
  study = load_criteo(file, key=KEY)
  assert f"has {ROWS} rows, not the published 13979592" in caplog.text
  assert [len(p) for p in parts(study)[1:]] == [300, 600, 1800]
  assert len(study.obs) == round(0.45499 * 3300)
  assert study.arm_names == ("control", "treated")
  assert study.feature_names == tuple(f"f{i}" for i in range(12))
  assert study.truth.logging.shape == (len(study.obs), 2)
  # The paper's counts, by the same arithmetic on all rows.
  n = 13_979_592
  sizes = [round(share * n) for share in (0.3, 0.1, 0.05)]
  assert sizes == [4_193_878, 1_397_959, 698_980]
  assert abs(round(criteo.KEPT * (n - sum(sizes))) - 3_498_294) <= 1


def test_clip_alone_keeps_enough_rows_for_the_papers_share():
  # Greatest ratio of a score at the clip, whatever the data (data.md 4).
  k, clip = criteo.HYBRID["strength"], criteo.HYBRID["clip"]
  kept = 0.15 + 0.85 * np.exp(-k * clip)
  assert criteo.KEPT < kept < 1.05 * criteo.KEPT


def test_outcomes_are_the_named_columns(file, text):
  cells = np.array([line.split(",") for line in text.split()[1:]], float)
  hybrid = HybridConfig(**criteo.HYBRID | {"strength": 0.0})
  study = load_criteo(file, key=KEY, hybrid=hybrid)
  other = load_criteo(
    file, key=KEY, hybrid=hybrid, revenue="visit", cost="conversion"
  )
  for one, two in zip(parts(study), parts(other), strict=True):
    np.testing.assert_array_equal(one.revenue, two.cost)
    np.testing.assert_array_equal(one.cost, two.revenue)
    assert (one.cost >= one.revenue).all()
  # All test rows are rows of the file, with their own features and outcomes.
  test, scalers = study.rct_test, study.scalers
  raw = test.features * scalers.feature_scale + scalers.feature_mean
  ours = np.column_stack([raw, test.arm, test.revenue, test.cost])
  apart, _ = cKDTree(cells[:, :15]).query(ours)
  assert apart.max() < 1e-4
  with pytest.raises(ValueError, match="cost='exposure' is not one of"):
    load_criteo(file, key=KEY, cost="exposure")


def test_cached_reading_is_the_same_study(file, tmp_path, monkeypatch):
  first = load_criteo(file, key=KEY, cache=tmp_path)
  monkeypatch.setattr("bidfcl_jax.data.columns.stream_table", None)
  again = load_criteo(file, key=KEY, cache=tmp_path)
  for one, two in zip(parts(first), parts(again), strict=True):
    np.testing.assert_array_equal(one.features, two.features)
    np.testing.assert_array_equal(one.revenue, two.revenue)


def test_rows_from_the_top(file, caplog):
  hybrid = HybridConfig(**criteo.HYBRID | {"rct": 0.2})
  study = load_criteo(file, key=KEY, hybrid=hybrid, rows=5000)
  assert len(study.rct_test) == 1500
  assert "published" not in caplog.text


@pytest.mark.parametrize(
  ("place", "cell", "message"),
  [
    # A file that stands under the real name has f1 around 0.
    (1, "0.13", "line 4, column 'f1': '0.13'"),
    (9, "75.4", "line 4, column 'f9': '75.4'"),
    (3, "", "line 4, column 'f3': the cell is empty"),
    (12, "2", "line 4, column 'treatment': '2'"),
    (13, "1", "line 4, column 'conversion': a conversion without a visit"),
    (15, "1", "line 4, column 'exposure': an exposed control"),
  ],
)
def test_cells_that_this_file_cannot_have(text, tmp_path, place, cell, message):
  lines = text.splitlines()[:9]
  row = lines[3].split(",")
  row[12:] = ["0", "0", "0", "0"]
  row[place] = cell
  lines[3] = ",".join(row)
  path = tmp_path / "c.csv"
  path.write_bytes("\r\n".join(lines).encode())
  with pytest.raises(ValueError, match=f"c.csv, {message}"):
    load_criteo(path, key=KEY)


def test_another_order_of_columns_and_v1_are_refused(
  text, file, tmp_path, monkeypatch
):
  path = tmp_path / "c.csv"
  path.write_text(text.replace("conversion,visit", "visit,conversion", 1))
  with pytest.raises(ValueError, match="line 1: .*in this order"):
    load_criteo(path, key=KEY)
  monkeypatch.setattr(criteo, "ROWS", ROWS - 1)
  with pytest.raises(ValueError, match="v1 .25309483 rows. was withdrawn"):
    load_criteo(file, key=KEY)


def test_whole_file_of_other_bytes_warns(file, monkeypatch, caplog):
  monkeypatch.setattr(criteo, "ROWS", ROWS)
  load_criteo(file, key=KEY)
  assert "sha256 of the file is" in caplog.text
  caplog.clear()
  own = hashlib.sha256(file.read_bytes()).hexdigest()
  monkeypatch.setattr(criteo, "SHA256", own)
  load_criteo(file, key=KEY)
  assert not caplog.records


def test_head_of_the_real_file():
  path = real_file("criteo_v21_head/criteo_uplift_v21_1000rows.csv.gz")
  columns = criteo.read_file(path)
  assert columns.features.shape == (1000, 12)
  # README of the data: treated, conversions, visits, exposed.
  assert columns.codes.sum(axis=0).tolist() == [863, 2, 35, 24]
  # Few controls of 50 RCT-train rows came back: no score, and still a Study.
  study = load_criteo(path, key=KEY)
  assert [len(p) for p in parts(study)] == [250, 50, 100, 300]
