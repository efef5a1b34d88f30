import gzip

import jax
import numpy as np
import pytest
from real_files import real_file

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data import load_hillstrom

KEY = jax.random.key(0)
HEADER = (
  "recency,history_segment,history,mens,womens,zip_code,newbie,channel,"
  "segment,visit,conversion,spend"
)
# README of the data: rows, and means of visit, conversion and spend.
ARM_TABLE = [
  (21306, 0.106167, 0.005726, 0.6528),
  (21387, 0.151400, 0.008837, 1.0772),
  (21307, 0.182757, 0.012531, 1.4226),
]
EFFECTS = (0.04523, 0.07659)


@pytest.fixture(scope="module")
def hillstrom():
  return real_file("hillstrom/hillstrom.csv.gz")


def lines(n=600, seed=0):
  rng = np.random.default_rng(seed)
  segments = ("No E-Mail", "Womens E-Mail", "Mens E-Mail")
  made = []
  for i in range(n):
    visit = int(rng.random() < 0.4)
    made.append(
      [
        str(rng.integers(1, 13)),
        '"1) $0 - $100"',
        f"{rng.uniform(29.99, 400):.2f}",
        str(rng.integers(2)),
        "1",
        ("Rural", "Surburban", "Urban")[rng.integers(3)],
        str(rng.integers(2)),
        ("Phone", "Web", "Multichannel")[rng.integers(3)],
        segments[i % 3],
        str(visit),
        str(visit),
        "29.99" if visit else "0",
      ]
    )
  return made


def write(folder, rows, header=HEADER):
  path = folder / "h.csv"
  text = [header, *(",".join(row) for row in rows)]
  path.write_bytes(("\r\n".join(text) + "\r\n").encode())
  return path


def parts(study):
  return (study.obs, study.rct_train, study.rct_valid, study.rct_test)


def test_other_content_warns_and_is_read(tmp_path, caplog):
  study = load_hillstrom(write(tmp_path, lines()), key=KEY)
  assert "not the published 0e589332" in caplog.text
  assert study.arm_names == ("No E-Mail", "Womens E-Mail", "Mens E-Mail")
  assert study.feature_names == (
    "recency",
    "history",
    "mens",
    "womens",
    "newbie",
    "zip_code=Rural",
    "zip_code=Surburban",
    "zip_code=Urban",
    "channel=Phone",
    "channel=Web",
    "channel=Multichannel",
  )
  assert (len(study.rct_test), len(study.rct_valid)) == (210, 60)
  assert study.truth.logging.shape == (len(study.obs), 3)


def test_one_hot_columns_name_one_level_a_row(tmp_path):
  study = load_hillstrom(write(tmp_path, lines()), key=KEY)
  raw = study.rct_test.features * study.scalers.feature_scale
  raw = np.round(raw + study.scalers.feature_mean, 3)
  assert set(np.unique(raw[:, 5:])) == {0, 1}
  assert (raw[:, 5:8].sum(axis=1) == 1).all()
  assert (raw[:, 8:].sum(axis=1) == 1).all()


@pytest.mark.parametrize(
  ("place", "cell", "message"),
  [
    (0, "13", "column 'recency': '13'"),
    (0, "2.5", "column 'recency': '2.5'"),
    (3, "2", "column 'mens': '2'"),
    (5, "Suburban", "column 'zip_code': 'Suburban' is not one of the declared"),
    (8, "Kids E-Mail", "column 'segment': 'Kids E-Mail'"),
    (9, "2", "column 'visit': '2'"),
    (11, "-1", "column 'spend': '-1'"),
    (11, "", "column 'spend': the cell is empty"),
  ],
)
@pytest.mark.filterwarnings("ignore")
def test_cells_that_this_file_cannot_have(tmp_path, place, cell, message):
  rows = lines(9)
  rows[4][place] = cell
  with pytest.raises(ValueError, match=f"h.csv, line 6, {message}"):
    load_hillstrom(write(tmp_path, rows), key=KEY)


def test_another_header_or_outcome_is_refused(tmp_path):
  header = HEADER.replace("visit", "visits")
  with pytest.raises(ValueError, match="no column 'visit'; did you mean"):
    load_hillstrom(write(tmp_path, lines(9), header), key=KEY)
  with pytest.raises(ValueError, match="cost='email' is not one of visit"):
    load_hillstrom(write(tmp_path, lines(9)), key=KEY, cost="email")


def test_arm_table_of_the_real_file(hillstrom, caplog):
  studies = {
    name: load_hillstrom(
      hillstrom,
      key=KEY,
      revenue=name,
      # Without a policy's tilt every row of the pool is kept.
      hybrid=HybridConfig(strength=0.0),
    )
    for name in ("visit", "conversion", "spend")
  }
  assert not caplog.records
  for column, study in enumerate(studies.values(), start=1):
    arm = np.concatenate([p.arm for p in parts(study)])
    revenue = np.concatenate([p.revenue for p in parts(study)])
    assert len(arm) == 64000
    for code, row in enumerate(ARM_TABLE):
      assert (arm == code).sum() == row[0]
      mean = revenue[arm == code].mean(dtype=np.float64)
      assert mean == pytest.approx(row[column], abs=6e-5)


def test_plain_and_gzip_are_the_same(hillstrom, tmp_path):
  plain = tmp_path / "hillstrom.csv"
  plain.write_bytes(gzip.decompress(hillstrom.read_bytes()))
  one = load_hillstrom(plain, key=KEY)
  two = load_hillstrom(hillstrom, key=KEY)
  np.testing.assert_array_equal(one.obs.features, two.obs.features)
  np.testing.assert_array_equal(one.rct_test.revenue, two.rct_test.revenue)


def test_logs_are_biased_and_true_propensities_undo_it(hillstrom):
  # data.md 4: naive effects too large by 0.019 and 0.043 at k = 1.
  naive, weighted = [], []
  for seed in range(12):
    study = load_hillstrom(hillstrom, key=jax.random.key(seed), revenue="visit")
    obs, logging = study.obs, study.truth.logging
    own = logging[np.arange(len(obs)), obs.arm]
    hit = obs.arm[:, None] == np.arange(3)
    naive_mean = (obs.revenue @ hit) / hit.sum(axis=0)
    weights = hit / own[:, None]
    true_mean = (obs.revenue @ weights) / weights.sum(axis=0)
    naive.append(naive_mean[1:] - naive_mean[0] - EFFECTS)
    weighted.append(true_mean[1:] - true_mean[0] - EFFECTS)
  np.testing.assert_allclose(np.mean(naive, axis=0), (0.019, 0.043), atol=0.007)
  se = np.std(weighted, axis=0, ddof=1) / np.sqrt(len(weighted))
  assert (np.abs(np.mean(weighted, axis=0)) < 3 * se).all()
  assert (se < 0.004).all()
