"""Types of options: a value becomes what its option holds, or is refused."""

import types
import typing
from typing import Any

import numpy as np

_WORDS = {
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  str: "a word",
  types.NoneType: "None",
}
# Kinds of NumPy dtypes that stand for a type.
_KINDS = {bool: "b", int: "iu", float: "iuf"}


def words(kind: Any) -> str:
  """Returns what a value of a type is called in a message."""
  if kind in _WORDS:
    return _WORDS[kind]
  parts = typing.get_args(kind)
  if typing.get_origin(kind) is types.UnionType:
    return " or ".join(map(words, parts))
  if parts[-1] is Ellipsis:
    return f"a list, each entry {words(parts[0])}"
  return f"a list of {len(parts)}: {', '.join(map(words, parts))}"


def cast(value: Any, kind: Any) -> Any:
  """Returns a value as its option holds it.

  Args:
    value: any; of NumPy and JAX, scalars count as the numbers that they are.
    kind: bool, int, float, str, None, a tuple of these or a union.

  Raises:
    TypeError: the value is of no such type. A number with a fraction is no
      whole number; True is no number.
  """
  parts = typing.get_args(kind)
  if typing.get_origin(kind) is types.UnionType:
    for part in parts:
      try:
        return cast(value, part)
      except TypeError:
        pass
  elif parts:
    if isinstance(value, (list, tuple)):
      if parts[-1] is Ellipsis:
        parts = parts[:1] * len(value)
      if len(value) == len(parts):
        pairs = zip(value, parts, strict=True)
        return tuple(cast(entry, part) for entry, part in pairs)
  elif kind in _KINDS:
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in _KINDS[kind]:
      return kind(value)
  elif isinstance(value, kind):
    return value
  raise TypeError(f"{value!r} is not {words(kind)}")
