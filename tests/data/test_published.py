import hashlib

import numpy as np
import pytest

from bidfcl_jax.data.parsing import warn_unless_digest
from bidfcl_jax.data.published import FINITE, Limits, published_table, ranged

TEXT = b"a,w\n1,x\n2.5,y\n"


def test_other_bytes_warn_and_are_read(tmp_path, caplog):
  path = tmp_path / "p.csv"
  path.write_bytes(TEXT)
  own = hashlib.sha256(TEXT).hexdigest()
  table = published_table(path, own, ["a"], ["w"])
  assert not caplog.records
  np.testing.assert_array_equal(ranged(table, "a", FINITE), [1, 2.5])
  published_table(path, "0" * 64, ["a"], ["w"])
  assert f"is {own}, not the published 000" in caplog.text
  caplog.clear()
  warn_unless_digest(path, "md5", hashlib.md5(TEXT).hexdigest())
  assert not caplog.records
  warn_unless_digest(path, "md5", "1" * 32)
  assert "md5 of the file" in caplog.text


@pytest.mark.parametrize(
  ("limits", "message"),
  [
    (Limits(2, 3), "line 2, column 'a': '1'"),
    (Limits(0, 2), "line 3, column 'a': '2.5'"),
    (Limits(0, 3, whole=True), "line 3, column 'a': '2.5'"),
  ],
)
def test_cells_outside_the_limits_are_refused(tmp_path, limits, message):
  path = tmp_path / "p.csv"
  path.write_bytes(TEXT)
  table = published_table(path, hashlib.sha256(TEXT).hexdigest(), ["a"], ["w"])
  with pytest.raises(ValueError, match=message):
    ranged(table, "a", limits)
