"""How every script is run: a plain exit, and the flags of that.

A script ends with one line on stderr where an input is at fault (a trace with
--debug), with 75 where it was asked to stop and can go on.
"""

import sys
from collections.abc import Callable

import jax
from absl import app, flags, logging

from bidfcl_jax.training import Diverged, Stopped

EXIT_STOPPED = 75

DEBUG = flags.DEFINE_bool("debug", False, "Show the stack trace of an error.")
CACHE = flags.DEFINE_string(
  "compilation_cache", None, "Folder of XLA's persistent compilation cache."
)


def run(main: Callable[..., None], *words: str) -> None:
  """Runs a script's main: no stray words, one line for an error.

  Args:
    main: takes the words of the command line that are no flags.
    *words: how the help calls them; none, where there are only flags.
  """

  def guarded(argv):
    given = argv[1:]
    if len(given) > len(words):
      stray = given[len(words) :]
      print(f"error: stray words {stray}; flags begin with --", file=sys.stderr)
      sys.exit(2)
    if len(given) < len(words):
      print(f"error: give {words[len(given)]}; see --help", file=sys.stderr)
      sys.exit(2)
    if not flags.FLAGS["verbosity"].present:
      # Orbax logs twenty lines a checkpoint.
      logging.set_verbosity(logging.WARNING)
    if CACHE.value:
      jax.config.update("jax_compilation_cache_dir", CACHE.value)
    try:
      main(*given)
    except Stopped as stopped:
      print(stopped, file=sys.stderr)
      sys.exit(EXIT_STOPPED)
    except (ValueError, OSError, Diverged) as error:
      if DEBUG.value:
        raise
      print(f"error: {error}", file=sys.stderr)
      sys.exit(1)

  app.run(guarded)
