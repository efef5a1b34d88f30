"""Files that are written whole or not at all (style.md 6; field case 18).

A whole file goes to a temporary name in the same folder and is renamed, so a
reader meets the old content or the new one and never a part. A JSON line is
appended by a single write under a lock of its file; what a kill may leave of a
line is passed over by the reader and cut off by the next writer.
"""

import contextlib
import fcntl
import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Left by a kill between writing and renaming; never a name of the user's.
_TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{32}\.tmp$")


def is_temporary(path: str | Path) -> bool:
  """Returns whether the name is one of write_atomic's temporary names."""
  return bool(_TEMPORARY.match(Path(path).name))


def write_atomic(path: str | Path, content: str | bytes) -> Path:
  """Writes a whole file or, if killed or out of space, leaves the old one.

  Args:
    path: the file; its parent folders are made.
    content: text (written as UTF-8) or bytes.

  Returns:
    The path.
  """
  if isinstance(content, str):
    content = content.encode()
  with replacing(path) as temporary:
    temporary.write_bytes(content)
  return Path(path)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
  """Gives a temporary name to write to, renamed to `path` at the end.

  For files too large to be held: what the block writes there takes the
  path's place at once, and an error leaves the old file.

  Args:
    path: the file; its parent folders are made.

  Yields:
    A name in the same folder at which nothing stands yet.
  """
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
  try:
    yield temporary
    with open(temporary, "rb+") as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise
  _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
  # A rename or a new name is on the disk only once the folder is.
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def plain(value: Any, where: str = "value") -> Any:
  """Returns value in JSON's own types.

  Args:
    value: dicts, lists, tuples, strings, numbers, paths, NumPy or JAX scalars
      and arrays, nested at will. NaN and infinities become None (JSON's null):
      JSON has no such numbers, and a missing number is read back as missing.
    where: name of the value in the error message.

  Returns:
    dict, list, str, int, float, bool or None.

  Raises:
    ValueError: a type that JSON cannot hold; the message names its place.
  """
  if value is None or isinstance(value, (bool, str)):
    return value
  if isinstance(value, int):
    return int(value)
  if isinstance(value, float):
    return float(value) if math.isfinite(value) else None
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if isinstance(value, dict):
    return {str(k): plain(v, f"{where}.{k}") for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
  if hasattr(value, "__array__") and hasattr(value, "dtype"):
    if isinstance(value.dtype, np.dtype):
      array = np.asarray(value)
      if array.dtype.kind in "biuU":
        return array.tolist()
      # Kind "V" holds bfloat16 and its like, which NumPy can only cast.
      if array.dtype.kind in "fV" and array.dtype.fields is None:
        return plain(array.astype(np.float64).tolist(), where)
  raise ValueError(
    f"{where} is a {type(value).__name__}, which JSON cannot hold; give "
    "numbers, strings, lists, dicts or numeric arrays"
  )


def _dumps(value: Any, **options: Any) -> bytes:
  text = json.dumps(
    plain(value), ensure_ascii=False, allow_nan=False, **options
  )
  # File names that are not UTF-8 arrive as lone surrogates; written as
  # backslash escapes they are valid JSON and come back the same.
  return text.encode("utf-8", "backslashreplace")


def write_json(path: str | Path, value: Any) -> Path:
  """Writes value as indented JSON, atomically; see `plain` for the types."""
  return write_atomic(path, _dumps(value, indent=2) + b"\n")


def write_lines(path: str | Path, records: list[dict[str, Any]]) -> Path:
  """Writes a file of JSON lines anew, atomically; see `plain`."""
  return write_atomic(path, b"".join(_dumps(line) + b"\n" for line in records))


def _is_record(line: bytes) -> bool:
  # No proper beginning of a JSON object is itself JSON, so a line that parses
  # is whole even where its newline is missing.
  try:
    return isinstance(json.loads(line), dict)
  except ValueError:
    return False


def _last_line(descriptor: int, size: int, block: int = 65536) -> bytes:
  """Returns what follows the last newline: empty unless a line was torn."""
  tail = b""
  while size > 0 and b"\n" not in tail:
    start = max(0, size - block)
    tail = os.pread(descriptor, size - start, start) + tail
    size = start
  return tail.rpartition(b"\n")[2]


def append_line(path: str | Path, record: dict[str, Any]) -> None:
  """Appends one JSON line, whole or not at all.

  One write, on the disk on return. A torn last line is cut off first; a write
  that comes out short (a full disk) is undone before the error is raised.
  Several processes may append to one file.

  Args:
    path: the file; it and its parent folders are made.
    record: a dict; see `plain` for the types inside.

  Raises:
    ValueError: record is not a dict, or holds what JSON cannot.
    OSError: the line could not be written; the file is as before.
  """
  if not isinstance(record, dict):
    raise ValueError(
      f"{path}: a line must be a dict, not a {type(record).__name__}"
    )
  line = _dumps(record) + b"\n"
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    size = os.fstat(descriptor).st_size
    torn = _last_line(descriptor, size)
    if torn and _is_record(torn):
      line = b"\n" + line
    elif torn:
      size -= len(torn)
      os.ftruncate(descriptor, size)
    try:
      if os.write(descriptor, line) != len(line):
        raise OSError(f"{path}: no room for a line of {len(line)} bytes")
    except BaseException:
      os.ftruncate(descriptor, size)
      raise
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
  """Reads a file of JSON lines; a torn last line is passed over.

  Args:
    path: the file; one that does not exist has no lines.

  Returns:
    The records in order.

  Raises:
    ValueError: a line other than the last is not a JSON object; the message
      has the file and the line's number.
  """
  path = Path(path)
  if not path.exists():
    return []
  *lines, last = path.read_bytes().split(b"\n")
  if _is_record(last):
    lines.append(last)
  for number, line in enumerate(lines, 1):
    if not _is_record(line):
      raise ValueError(
        f"{path}, line {number}: not a JSON object; the file was changed by "
        "another program: remove or repair this line"
      )
  return [json.loads(line) for line in lines]
