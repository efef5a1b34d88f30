"""Which methods a command runs: those that are named, or all that can run.

A method that cannot run (an extra that is not installed, settings or data that
it refuses) is an error where it was named, and passed over with a line on
stderr where the word was `all`.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence

import jax

from bidfcl_jax import methods
from bidfcl_jax.config import Config
from bidfcl_jax.types import Study

ALL = ["all"]


def known_names(words: Sequence[str], flag: str) -> tuple[str, ...]:
  """Returns the methods that a flag's words mean, each once.

  Raises:
    ValueError: no word, or one that is no method, with the nearest.
  """
  if list(words) == ALL:
    return methods.names()
  names = tuple(dict.fromkeys(words))
  if not names:
    raise ValueError(f"--{flag} names no method")
  for name in names:
    methods.check_name(name)
  return names


def refusal(name: str, config: Config, study: Study) -> str | None:
  """Returns why a method cannot run with these settings and data, or None."""
  try:
    method = methods.make(name, config)
    if method.init is not None:
      method.init(jax.random.key(0), study.for_learners())
  except ValueError as error:
    return str(error)
  # Only TSM-CF fits itself; its library is found out late, in the fit.
  if method.fit is not None and importlib.util.find_spec("econml") is None:
    return "needs the extra `forest`: pip install 'bidfcl_jax[forest]'"
  return None


def runnable(
  words: Sequence[str],
  flag: str,
  config_of: Callable[[str], Config],
  study: Study,
) -> tuple[str, ...]:
  """Returns the methods to run.

  Args:
    words: of the flag: names, or the one word "all".
    flag: its name, for the message.
    config_of: name -> the method's settings.
    study: the first seed's.

  Raises:
    ValueError: a named method that is unknown or cannot run; all cannot.
  """
  kept = []
  for name in known_names(words, flag):
    reason = refusal(name, config_of(name), study)
    if reason is None:
      kept.append(name)
    elif list(words) == ALL:
      print(f"skipped {name}: {reason}", file=sys.stderr)
    else:
      raise ValueError(f"--{flag}={name} cannot run: {reason}")
  if not kept:
    raise ValueError(f"--{flag}=all: no method can run with these settings")
  return tuple(kept)
