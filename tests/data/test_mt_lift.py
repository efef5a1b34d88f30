import jax
import numpy as np
import pytest

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data import load_mt_lift

KEY = jax.random.key(0)
FLAT = HybridConfig(strength=0.0)
NAMES = [f"f{i}" for i in range(99)] + ["treatment", "click", "conversion"]


def write(path, rows, seed=0, shuffled=False):
  rng = np.random.default_rng(seed)
  cells = rng.normal(size=(rows, 102)).round(3).astype(object)
  cells[:, 0] = 1000 * seed + np.arange(rows)
  cells[:, 99] = np.arange(rows) % 5
  cells[:, 100] = rng.integers(2, size=rows)
  cells[:, 101] = (rng.random(rows) < 0.2).astype(int)
  # The order of the published columns was not seen.
  order = rng.permutation(102) if shuffled else np.arange(102)
  lines = [np.array(NAMES)[order], *cells[:, order]]
  path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
  return cells


def parts(study):
  return (study.obs, study.rct_train, study.rct_valid, study.rct_test)


def test_columns_by_name_and_files_joined(tmp_path, caplog):
  paths = [tmp_path / "train.csv", tmp_path / "test.csv"]
  cells = np.concatenate(
    [write(paths[0], 400), write(paths[1], 100, 1, shuffled=True)]
  )
  study = load_mt_lift(paths, key=KEY, hybrid=FLAT)
  assert not caplog.records
  assert study.feature_names == tuple(NAMES[:99])
  assert study.arm_names == ("0", "1", "2", "3", "4")
  scale, mean = study.scalers.feature_scale, study.scalers.feature_mean
  raw = np.concatenate([p.features for p in parts(study)]) * scale + mean
  money = [
    np.concatenate([getattr(p, name) for p in parts(study)])
    for name in ("arm", "cost", "revenue")
  ]
  # Without a policy's tilt every row arrives once.
  ours = np.column_stack([raw.round(3), *money])
  want = cells.astype(float)
  first = np.argsort(ours[:, 0]), np.argsort(want[:, 0])
  np.testing.assert_allclose(ours[first[0]], want[first[1]], atol=1e-3)


def test_obs_is_drawn_by_a_known_policy(tmp_path):
  write(tmp_path / "train.csv", 900)
  study = load_mt_lift(
    tmp_path / "train.csv", key=KEY, revenue="click", cost="conversion"
  )
  logging = study.truth.logging
  assert logging.shape == (len(study.obs), 5)
  np.testing.assert_allclose(logging.sum(axis=1), 1)
  assert logging.std(axis=0).min() > 0
  assert study.rct_test.revenue.mean() > study.rct_test.cost.mean()


def test_what_the_file_cannot_hold_is_refused(tmp_path):
  path = tmp_path / "train.csv"
  write(path, 9)
  good = path.read_text()
  with pytest.raises(ValueError, match="revenue='visit' is not one of click"):
    load_mt_lift(path, key=KEY, revenue="visit")
  with pytest.raises(ValueError, match="empty list"):
    load_mt_lift([], key=KEY)
  path.write_text(good.replace("f17,", "g17,", 1))
  with pytest.raises(ValueError, match="no column 'f17'"):
    load_mt_lift(path, key=KEY)
  lines = good.splitlines()
  row = lines[2].split(",")
  row[99] = "5"
  path.write_text("\n".join([*lines[:2], ",".join(row), *lines[3:]]))
  with pytest.raises(ValueError, match="line 3, column 'treatment': '5'"):
    load_mt_lift(path, key=KEY)
