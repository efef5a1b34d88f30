"""Checkpoints: all that a fit needs to go on, as plain host arrays (orbax).

A snapshot is a position (stage, epoch, block) and a pytree of arrays. Leaves
are stored by number and put back into the structure that the method's `init`
gives, so that container types survive and reading runs no code. Orbax writes
under a temporary name and renames; what a kill leaves half-written is ignored.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp


class Position(NamedTuple):
  """Where a fit stands: the next block to learn from.

  Attributes:
    stage: index; the number of stages where the fit is finished.
    epoch: within the stage.
    block: within the epoch.
  """

  stage: int = 0
  epoch: int = 0
  block: int = 0


def _dtype(leaf: Any) -> np.dtype:
  return np.dtype(jax.numpy.result_type(leaf))


def _layout(leaves: list) -> list:
  """Shapes and dtypes, as JSON gives them back."""
  return [[list(np.shape(x)), _dtype(x).name] for x in leaves]


def _numbered(leaves: list) -> dict[str, np.ndarray]:
  return {f"{i:05d}": leaf for i, leaf in enumerate(leaves)}


class Checkpoints:
  """The newest two snapshots of one fit in a folder."""

  def __init__(self, folder: str | Path):
    self._manager = ocp.CheckpointManager(
      Path(folder).absolute(),
      options=ocp.CheckpointManagerOptions(
        max_to_keep=2,
        create=True,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
      ),
      item_names=("arrays", "meta"),
    )

  def save(self, position: Position, arrays: Any, meta: Mapping) -> None:
    """Writes a snapshot; `meta` holds plain values for JSON."""
    host = [np.asarray(jax.device_get(x)) for x in jax.tree.leaves(arrays)]
    number = (self._manager.latest_step() or 0) + 1
    self._manager.save(
      number,
      args=ocp.args.Composite(
        arrays=ocp.args.StandardSave(_numbered(host)),
        meta=ocp.args.JsonSave(
          {
            "position": list(position),
            "layout": _layout(host),
            "values": dict(meta),
          }
        ),
      ),
    )

  def latest(self, like: Any) -> tuple[Position, Any, dict] | None:
    """Reads the newest snapshot.

    Args:
      like: a pytree of the saved structure and shapes.

    Returns:
      (position, arrays, meta), or None where there is no snapshot.

    Raises:
      ValueError: the snapshot's arrays do not fit `like`.
    """
    number = self._manager.latest_step()
    if number is None:
      return None
    expected, structure = jax.tree.flatten(like)
    meta = self._manager.restore(
      number, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
    ).meta
    if meta["layout"] != _layout(expected):
      raise ValueError(
        f"checkpoint {number} in {self._manager.directory} does not fit this "
        "method and configuration; use another folder or overwrite this one"
      )
    template = [np.zeros(np.shape(x), _dtype(x)) for x in expected]
    arrays = self._manager.restore(
      number,
      args=ocp.args.Composite(
        arrays=ocp.args.StandardRestore(_numbered(template))
      ),
    ).arrays
    leaves = [arrays[name] for name in sorted(arrays)]
    tree = jax.tree.unflatten(structure, leaves)
    return Position(*meta["position"]), tree, meta["values"]

  def close(self) -> None:
    """Ends the manager's threads."""
    self._manager.close()
