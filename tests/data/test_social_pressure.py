import time

import jax
import numpy as np
import pytest
from real_files import real_file

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data import load_social_pressure

KEY = jax.random.key(0)
PRICES = (0, 1, 2, 3, 5)
HEADER = "sex,yob,g2000,g2002,g2004,p2000,p2002,p2004,treatment,voted,hh_size"
ARMS = ("Control", "Civic Duty", "Hawthorne", "Self", "Neighbors")
# README of the data: rows and turnout.
ARM_TABLE = [
  (191243, 0.29664),
  (38218, 0.31454),
  (38204, 0.32237),
  (38218, 0.34515),
  (38201, 0.37795),
]


@pytest.fixture(scope="module")
def mailings():
  return real_file("social_pressure/social_pressure.csv.gz")


def lines(households=400, seed=0):
  rng = np.random.default_rng(seed)
  made = []
  for home in range(households):
    size = int(rng.integers(1, 4))
    for _ in range(size):
      votes = ["yes" if rng.random() < 0.5 else "No" for _ in range(3)]
      made.append(
        [
          "female" if rng.random() < 0.5 else "male",
          str(rng.integers(1920, 1985)),
          *votes[:2],
          "yes",
          votes[2],
          *votes[:2],
          " " + ARMS[home % 5],
          "Yes" if rng.random() < 0.4 else "No",
          str(size),
        ]
      )
  return made


def write(folder, rows):
  path = folder / "s.csv"
  path.write_text("\n".join([HEADER, *(",".join(row) for row in rows)]) + "\n")
  return path


def parts(study):
  return (study.obs, study.rct_train, study.rct_valid, study.rct_test)


def raw_features(study):
  features = np.concatenate([p.features for p in parts(study)])
  scale, mean = study.scalers.feature_scale, study.scalers.feature_mean
  return dict(
    zip(
      study.feature_names, np.round(features * scale + mean, 3).T, strict=True
    )
  )


def test_prices_become_known_costs(tmp_path, caplog):
  study = load_social_pressure(write(tmp_path, lines()), PRICES, key=KEY)
  assert "not the published 96996485" in caplog.text
  np.testing.assert_array_equal(study.known_cost, PRICES)
  for part in parts(study):
    np.testing.assert_array_equal(part.cost, np.array(PRICES)[part.arm])
  assert study.arm_names == ARMS
  assert study.budget == 2
  assert study.truth.logging.shape == (len(study.obs), 5)


def test_text_becomes_the_right_numbers(tmp_path):
  rows = lines()
  study = load_social_pressure(
    write(tmp_path, rows), PRICES, key=KEY, hybrid=HybridConfig(strength=0.0)
  )
  features = raw_features(study)
  assert tuple(features) == (
    "male", "age", "g2000", "g2002", "p2000", "p2002", "p2004", "hh_size"
  )  # fmt: skip
  want = sorted(
    (
      float(r[0] == "male"),
      2006.0 - float(r[1]),
      *(float(r[j].lower() == "yes") for j in (2, 3, 5, 6, 7)),
      float(r[10]),
    )
    for r in rows
  )
  # With k = 0 every row is kept, so each arrives once.
  assert sorted(zip(*features.values(), strict=True)) == want


@pytest.mark.parametrize("prices", [(0, 1, 2), (0, 1, 2, 3, -5), 1.0])
def test_prices_are_counted_and_checked(tmp_path, prices):
  with pytest.raises(ValueError, match="5 arms Control|arm 'Neighbors' is -5"):
    load_social_pressure(write(tmp_path, lines()), prices, key=KEY)


def test_households_that_are_not_one_block_are_refused(tmp_path):
  rows = lines()
  home = next(i for i, r in enumerate(rows) if r[10] == "3")
  arm, size = rows[home + 1][8], rows[home + 2][10]
  rows[home + 1][8] = " Self" if arm != " Self" else " Control"
  with pytest.raises(
    ValueError, match=f"line {home + 3}, column 'treatment'.*one household"
  ):
    load_social_pressure(write(tmp_path, rows), PRICES, key=KEY)
  rows[home + 1][8], rows[home + 2][10] = arm, "1"
  with pytest.raises(
    ValueError, match=f"line {home + 4}, column 'hh_size'.*one household"
  ):
    load_social_pressure(write(tmp_path, rows), PRICES, key=KEY)
  rows[home + 2][10] = size
  with pytest.raises(
    ValueError, match=f"line {home + 2}, column 'hh_size': the file ends inside"
  ):
    load_social_pressure(write(tmp_path, rows[: home + 2]), PRICES, key=KEY)


@pytest.mark.parametrize(
  ("place", "cell", "message"),
  [
    (1, "1790", "column 'yob': '1790'"),
    (3, "maybe", "column 'g2002': 'maybe' is not one of the declared no, yes"),
    (8, " Letters", "column 'treatment': ' Letters'"),
    (9, "", "column 'voted': the cell is empty"),
    (10, "0", "column 'hh_size': '0'"),
  ],
)
def test_cells_that_this_file_cannot_have(tmp_path, place, cell, message):
  rows = lines(9)
  rows[3][place] = cell
  with pytest.raises(ValueError, match=f"s.csv, line 5, {message}"):
    load_social_pressure(write(tmp_path, rows), PRICES, key=KEY)


def test_arm_table_and_households_of_the_real_file(mailings, caplog):
  start = time.perf_counter()
  study = load_social_pressure(mailings, PRICES, key=KEY)
  assert time.perf_counter() - start < 10
  assert not caplog.records
  homes = [np.unique(p.group) for p in parts(study)]
  # No household of the log stands in another part.
  assert len(np.unique(np.concatenate(homes))) == sum(map(len, homes))
  assert len(homes[3]) == round(0.35 * 180002)
  # k = 0.5 keeps about 52 % of the pool (data.md 4).
  pool = 344084 - sum(len(p) for p in parts(study)[1:])
  assert len(study.obs) / pool == pytest.approx(0.52, abs=0.02)
  assert study.truth.logging.min() == pytest.approx(0.051, abs=0.01)
  for code in range(1, 5):
    obs = study.obs
    naive = (
      obs.revenue[obs.arm == code].mean() - obs.revenue[obs.arm == 0].mean()
    )
    assert naive > ARM_TABLE[code][1] - ARM_TABLE[0][1]


def test_turnout_by_arm_of_the_real_file(mailings):
  shares = np.array([rows for rows, _ in ARM_TABLE]) / 344084
  study = load_social_pressure(
    mailings, PRICES, key=KEY, hybrid=HybridConfig(strength=0.0)
  )
  # With k = 0 the policy is the shares, so every row of the pool is kept.
  np.testing.assert_allclose(study.truth.logging[0], shares, rtol=1e-9)
  arm = np.concatenate([p.arm for p in parts(study)])
  voted = np.concatenate([p.revenue for p in parts(study)])
  for code, (rows, mean) in enumerate(ARM_TABLE):
    assert (arm == code).sum() == rows
    assert voted[arm == code].mean(dtype=np.float64) == pytest.approx(
      mean, abs=6e-6
    )
  group = np.concatenate([p.group for p in parts(study)])
  assert len(np.unique(group)) == 180002
