import hashlib

import jax
import numpy as np
import pytest

from bidfcl_jax.data import lazada, load_lazada

KEY = jax.random.key(0)
NAMES = ["data_id", "label", "is_treat", *(f"f{i}" for i in range(83))]


def write(path, rows, seed):
  rng = np.random.default_rng(seed)
  cells = rng.normal(size=(rows, 86)).round(4).astype(object)
  cells[:, 0] = np.arange(rows)
  cells[:, 1:3] = rng.integers(2, size=(rows, 2))
  lines = [NAMES, *cells]
  path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
  return cells


def test_logs_and_trial_go_where_they_belong(tmp_path, caplog):
  logs = write(tmp_path / "a.csv", 150, 0)
  trial = write(tmp_path / "b.csv", 100, 1)
  study = load_lazada(
    tmp_path / "a.csv", tmp_path / "b.csv", key=KEY, prices=(0, 2.5)
  )
  assert caplog.text.count("md5 of the file is") == 2
  np.testing.assert_array_equal(study.obs.arm, logs[:, 2])
  np.testing.assert_array_equal(study.obs.revenue, logs[:, 1])
  np.testing.assert_array_equal(study.known_cost, [0, 2.5])
  np.testing.assert_array_equal(study.obs.cost, 2.5 * study.obs.arm)
  scale, mean = study.scalers.feature_scale, study.scalers.feature_mean
  raw = study.obs.features * scale + mean
  np.testing.assert_allclose(raw, logs[:, 3:].astype(float), atol=1e-5)
  rct = (study.rct_train, study.rct_valid, study.rct_test)
  assert [len(part) for part in rct] == [40, 10, 50]
  labels = np.concatenate([part.revenue for part in rct])
  assert labels.sum() == trial[:, 1].sum()
  assert study.truth is None
  assert study.feature_names == tuple(NAMES[3:])


def test_published_files_do_not_warn(tmp_path, caplog, monkeypatch):
  paths = {"train": tmp_path / "a.csv", "test": tmp_path / "b.csv"}
  digests = {}
  for seed, (part, path) in enumerate(paths.items()):
    write(path, 60, seed)
    digests[part] = hashlib.md5(path.read_bytes()).hexdigest()
  monkeypatch.setattr(lazada, "MD5", digests)
  load_lazada(*paths.values(), key=KEY)
  assert not caplog.records


def test_cells_and_prices_that_cannot_be_are_refused(tmp_path):
  for name in ("a.csv", "b.csv"):
    write(tmp_path / name, 9, 0)
  bad = (tmp_path / "b.csv").read_text().replace("\n1,0,", "\n1,3,")
  bad = bad.replace("\n1,1,", "\n1,3,")
  (tmp_path / "b.csv").write_text(bad)
  paths = (tmp_path / "a.csv", tmp_path / "b.csv")
  with pytest.raises(ValueError, match="b.csv, line 3, column 'label': '3'"):
    load_lazada(*paths, key=KEY)
  with pytest.raises(ValueError, match="each of the 2 arms"):
    load_lazada(*paths, key=KEY, prices=(1,))
