import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bidfcl_jax.training.checkpoints import Checkpoints, Position

LIKE = {
  "params": [jnp.ones((3, 2)), (jnp.zeros(()),)],
  "adam": optax.scale_by_adam().init({"w": jnp.ones(2)}),
}


def test_fc_17_containers_and_position_come_back(tmp_path):
  folder = tmp_path / "run é 1"
  writer = Checkpoints(folder)
  assert writer.latest(LIKE) is None
  writer.save(Position(1, 2, 3), LIKE, {"best_score": -1.5})
  writer.close()
  reader = Checkpoints(folder)
  position, arrays, meta = reader.latest(LIKE)
  reader.close()
  assert position == Position(1, 2, 3)
  assert meta == {"best_score": -1.5}
  assert isinstance(arrays["params"][1], tuple)
  assert type(arrays["adam"]) is type(LIKE["adam"])
  np.testing.assert_array_equal(arrays["params"][0], np.ones((3, 2)))


def test_another_layout_is_refused(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Position(), [jnp.ones(3)], {})
  with pytest.raises(ValueError, match="does not fit"):
    checkpoints.latest([jnp.ones(4)])
  checkpoints.close()


def test_fc_18_left_over_of_a_kill_beside_good_ones(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for epoch in (1, 2, 3):
    checkpoints.save(Position(0, epoch), [jnp.full(2, epoch)], {})
  checkpoints.close()
  left = tmp_path / "4.orbax-checkpoint-tmp"
  left.mkdir()
  (left / "half").write_bytes(b"x")
  again = Checkpoints(tmp_path)
  position, arrays, _ = again.latest([jnp.zeros(2, jnp.int32)])
  assert position.epoch == 3
  np.testing.assert_array_equal(arrays[0], [3, 3])
  again.save(Position(0, 4), [jnp.full(2, 4)], {})
  assert again.latest([jnp.zeros(2, jnp.int32)])[0].epoch == 4
  again.close()


_ON_EIGHT = """
import sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from bidfcl_jax.training.checkpoints import Checkpoints, Position
assert jax.device_count() == 8
checkpoints = Checkpoints(sys.argv[1])
"""

_WRITE = """
mesh = Mesh(np.array(jax.devices()), ("rows",))
spread = NamedSharding(mesh, PartitionSpec("rows"))
array = jax.device_put(np.arange(16, dtype=np.float32), spread)
checkpoints.save(Position(0, 1), [array], {})
checkpoints.close()
"""

_READ = """
position, (array,), meta = checkpoints.latest([np.zeros(16, np.float32)])
checkpoints.close()
assert position == Position(0, 1) and meta == {"skips": 2}
np.testing.assert_array_equal(array, np.arange(16))
assert jax.jit(lambda x: x.sum())(array) == 120
"""


def on_eight_devices(code, folder):
  flags = "--xla_force_host_platform_device_count=8"
  done = subprocess.run(
    [sys.executable, "-c", _ON_EIGHT + code, str(folder)],
    env={**os.environ, "XLA_FLAGS": flags},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


def test_fc_17_saved_under_eight_devices_read_under_one(tmp_path):
  on_eight_devices(_WRITE, tmp_path)
  checkpoints = Checkpoints(tmp_path)
  _, (array,), _ = checkpoints.latest([jnp.zeros(16)])
  checkpoints.close()
  np.testing.assert_array_equal(array, np.arange(16))


def test_fc_17_saved_under_one_device_read_by_a_process_with_eight(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(
    Position(0, 1), [jnp.arange(16, dtype=jnp.float32)], {"skips": 2}
  )
  checkpoints.close()
  on_eight_devices(_READ, tmp_path)
