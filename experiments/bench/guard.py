"""How a timing script is run: flags checked first, one line for an error.

The guard of experiments/common.py comes with the flags of data and settings,
which no timing script reads.
"""

import sys
from collections.abc import Callable, Collection

from absl import app, flags, logging


def run(main: Callable[[], None]) -> None:
  """Runs a script's main: no stray words, one line where an input is at fault.

  --verbosity=1 shows the stack trace as well.
  """

  def guarded(argv):
    try:
      if len(argv) > 1:
        raise ValueError(f"stray words {argv[1:]}; flags begin with --")
      main()
    except (ValueError, OSError) as error:
      logging.debug("the trace:", exc_info=True)
      print(f"error: {error}", file=sys.stderr)
      sys.exit(1)

  app.run(guarded)


def whole_numbers(flag: flags.FlagHolder, least: int = 1) -> list[int]:
  """Reads a list flag.

  Raises:
    ValueError: a word that is no whole number, or a smaller one than `least`.
  """
  for word in flag.value:
    if not word.isdecimal() or int(word) < least:
      raise ValueError(
        f"--{flag.name}={word}: give whole numbers of at least {least}, "
        "separated by commas"
      )
  return [int(word) for word in flag.value]


def refuse_unknown(flag: flags.FlagHolder, known: Collection[str]) -> None:
  """Raises ValueError for a word of a list flag that is not among `known`."""
  for word in flag.value:
    if word not in known:
      raise ValueError(
        f"--{flag.name}={word} is unknown; known: {'; '.join(known)}"
      )
