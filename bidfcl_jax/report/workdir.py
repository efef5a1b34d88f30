"""The work directory of a run: claimed at the start, resumed, never clobbered.

A folder holds one run: config.json (settings, versions, command, data hash),
metrics.jsonl, fits (checkpoints of each method and seed), figures, tables and,
at the end, result.json (architecture, Work directory; field case 18). The lock
is the operating system's and ends with its process, so that a kill leaves
nothing to clean up.
"""

import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from bidfcl_jax import files

CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
LOCK = "lock"
# What a run may write, in the order in which --overwrite moves it away: while
# result.json stands the folder still counts as finished, and a kill between
# two moves leaves at worst an unfinished run without its checkpoints.
_CONTENT = ("fits", "figures", "tables", METRICS, RESULT)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint")
_WAY_OUT = "give --overwrite to replace it, or another --workdir"


class WorkDir:
  """A claimed folder; a context manager that gives it free at the end.

  Attributes:
    path: the folder.
    resumed: True where an unfinished run with equal settings stands there.
  """

  def __init__(self, path: Path, resumed: bool, lock: int):
    self.path = path
    self.resumed = resumed
    self._lock: int | None = lock

  def log(self, record: dict[str, Any]) -> None:
    """Appends one line to metrics.jsonl."""
    files.append_line(self.path / METRICS, record)

  def finish(self, result: dict[str, Any]) -> None:
    """Writes result.json, the mark of a finished run."""
    files.write_json(self.path / RESULT, result)

  def close(self) -> None:
    """Gives the folder free; a second call does nothing."""
    if self._lock is not None:
      os.close(self._lock)
      self._lock = None

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages that shape a result."""
  found = {"python": platform.python_version()}
  for name in ("bidfcl_jax", *_PACKAGES):
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def claim(
  workdir: str | Path,
  config: dict[str, Any],
  data_hash: str,
  *,
  overwrite: bool = False,
  command: Sequence[str] | None = None,
) -> WorkDir:
  """Claims a folder for one run, or refuses before anything is changed.

  A new or empty folder gets its config.json. An unfinished run with equal
  config and data hash is resumed: config.json stays as it is. With overwrite,
  what an earlier run wrote is moved into `replaced-1` (2, 3, ...) inside the
  folder; files that are not a run's stay where they are.

  Args:
    workdir: the folder; it and its parents are made.
    config: the resolved settings, nested dicts (`config.as_dict`).
    data_hash: what identifies the data.
    overwrite: start afresh where a run stands.
    command: words of the command for the record; this process's by default.

  Returns:
    The WorkDir; close it, or use it in a `with`.

  Raises:
    ValueError: another live process writes there; the folder holds files but
      no run of this package; a finished run stands there; or an option or the
      data hash differs from the run's (the first difference is named).
  """
  root = Path(workdir)
  if root.exists() and not root.is_dir():
    raise ValueError(f"workdir {root} is a file; give a folder")
  new = {"config": files.plain(config, "config"), "data_hash": data_hash}
  _read_config(root)
  root.mkdir(parents=True, exist_ok=True)
  lock = _lock(root)
  try:
    # Read again: before the lock another process may have begun a run.
    old = _read_config(root)
    resumed = old is not None and not overwrite
    if old is not None and not overwrite:
      reason = _difference(old, new)
      if reason is None and (root / RESULT).exists():
        reason = f"it holds a finished run ({RESULT})"
      if reason is not None:
        raise ValueError(f"workdir {root} refused: {reason}; {_WAY_OUT}")
    for entry in list(root.iterdir()):
      if files.is_temporary(entry) and entry.is_file():
        entry.unlink()
    if not resumed:
      if old is not None:
        _move_aside(root)
      command = sys.argv if command is None else command
      files.write_json(
        root / CONFIG,
        {
          "package": "bidfcl_jax",
          "command": shlex.join(command),
          "versions": versions(),
          **new,
        },
      )
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} on {platform.node()}".encode(), 0)
  except BaseException:
    os.close(lock)
    raise
  return WorkDir(root, resumed, lock)


def read_config(workdir: str | Path) -> dict[str, Any]:
  """Reads config.json of a run.

  Args:
    workdir: the folder of a run.

  Returns:
    A dict with config, data_hash, command, versions and package.

  Raises:
    ValueError: no run of this package stands there.
  """
  root = Path(workdir)
  record = _read_config(root) if (root / CONFIG).exists() else None
  if record is None:
    raise ValueError(f"no run in {root}: {root / CONFIG} is missing")
  return record


def _read_config(root: Path) -> dict[str, Any] | None:
  """Returns the run's config.json; None where the folder is free."""
  if not root.exists():
    return None
  path = root / CONFIG
  if path.exists():
    try:
      record = json.loads(path.read_bytes())
    except ValueError:
      record = None
    if isinstance(record, dict) and record.get("package") == "bidfcl_jax":
      return record
    raise ValueError(
      f"workdir {root} refused: its {CONFIG} is not of this package; give "
      "another --workdir"
    )
  for entry in sorted(root.iterdir()):
    if entry.name != LOCK and not files.is_temporary(entry):
      raise ValueError(
        f"workdir {root} refused: it holds {entry.name!r} but no {CONFIG} of "
        "this package; give an empty folder or another --workdir"
      )
  return None


def _lock(root: Path) -> int:
  descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    owner = os.pread(descriptor, 200, 0).decode(errors="replace")
    os.close(descriptor)
    raise ValueError(
      f"workdir {root} is in use by another run (process {owner or 'unknown'})"
      "; wait for its end, or give another --workdir"
    ) from None
  return descriptor


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
  if not isinstance(node, dict):
    return {prefix: node}
  flat: dict[str, Any] = {}
  for name, value in node.items():
    flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
  return flat


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
  """Returns the first difference in words, or None."""
  before, now = _flat(old["config"]), _flat(new["config"])
  for name in [*now, *before]:
    values = [
      json.dumps(side[name]) if name in side else "not set"
      for side in (before, now)
    ]
    if values[0] != values[1]:
      return f"option {name} is {values[1]}, but {values[0]} in the run there"
  if old["data_hash"] != new["data_hash"]:
    return (
      f"the data hash is {new['data_hash']}, but {old['data_hash']} in the "
      "run there"
    )
  return None


def _move_aside(root: Path) -> None:
  aside = _fresh_folder(root, "replaced", always_number=True)
  for name in _CONTENT:
    if (root / name).exists():
      os.rename(root / name, aside / name)
  # Copied, not moved: without config.json the folder would count as foreign
  # if a kill came before the new one is written.
  files.write_atomic(aside / CONFIG, (root / CONFIG).read_bytes())


def _fresh_folder(root: Path, name: str, always_number: bool = False) -> Path:
  """Makes a folder that no other process has, numbering it if need be."""
  number = 1
  while True:
    plain_name = number == 1 and not always_number
    folder = root / (name if plain_name else f"{name}-{number}")
    try:
      folder.mkdir(parents=True)
      return folder
    except FileExistsError:
      number += 1


def default_workdir(
  name: str,
  root: str | Path = "runs",
  *,
  now: datetime.datetime | None = None,
) -> Path:
  """Makes a new folder for a run that was given none.

  Args:
    name: what the run is, for instance its method; slashes become dashes.
    root: the folder of all runs.
    now: the time in the folder's name; the present by default.

  Returns:
    `root/name-YYYYMMDD-HHMMSS`, with `-2`, `-3`, ... where runs start in the
    same second: every caller gets a folder of its own.
  """
  now = now or datetime.datetime.now()
  safe = name.replace("/", "-").replace(os.sep, "-")
  return _fresh_folder(Path(root), f"{safe}-{now:%Y%m%d-%H%M%S}")
