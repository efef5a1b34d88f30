"""What the scripts share: the flags of settings and of data."""

import re
import sys
from typing import Any

from absl import flags
from ml_collections import config_flags

from bidfcl_jax import config as config_lib
from experiments.data_flags import (
  DATA,
  ID_COLUMN,
  data_defaults,
  given_flags,
  load_study,
  require_simulated,
  take_flags,
)

__all__ = [
  "BUDGET",
  "DATA",
  "ID_COLUMN",
  "given_flags",
  "given_overrides",
  "load_study",
  "require_simulated",
  "resolved_config",
  "take_flags",
]

BUDGET = flags.DEFINE_float(
  "budget",
  None,
  "Budget per capita, original units; default: the study's own (the mean cost "
  "of giving everyone the middle arm; half of it where there is one offer).",
)
PRESET = flags.DEFINE_enum(
  "preset", "quick", list(config_lib.PRESETS), "Sizes: network, rows, epochs."
)
RECIPE = flags.DEFINE_enum(
  "recipe",
  "recommended",
  list(config_lib.RECIPES),
  "The method: the paper to the letter, or what simulations recommend.",
)
CHECKPOINT = flags.DEFINE_enum(
  "checkpoint",
  "ema_last",
  list(config_lib.CHECKPOINT_RULES),
  "The rule that picks each method's parameters, the same for all.",
)


def _check_names() -> None:
  """Ends the program at a --config word that names no option.

  ml_collections reads these words while the flag below is defined, before any
  script runs, and would end with a trace.
  """
  try:
    words = flags.FLAGS.read_flags_from_files(sys.argv[1:], force_gnu=False)
  except flags.Error as error:
    sys.exit(f"error: {error}")
  options = config_lib.option_names()
  for word in words:
    given = re.match(r"--?(?:no)?config\.([^=]+)", word)
    if given and not any(f"{o}.".startswith(f"{given[1]}.") for o in options):
      sys.exit(f"error: {config_lib.unknown_option(given[1])}")


_check_names()
# ml_collections writes into this object while flags are parsed, nobody after.
_OVERRIDES = config_flags.DEFINE_config_dataclass(
  "config",
  config_lib.Config(),
  "Any setting: --config.bilevel.n_cg=20. See bidfcl_jax/config.py.",
)


def given_overrides() -> dict[str, Any]:
  """Returns the --config.* flags that were given: dotted name -> value."""
  return dict(config_flags.get_override_values(flags.FLAGS["config"]).items())


def resolved_config() -> config_lib.Config:
  """Builds the settings out of preset, recipe and --config.* flags.

  Raises:
    ValueError: see `bidfcl_jax.config.make`; preset, recipe, budget or
      checkpoint rule given twice.
  """
  overrides = given_overrides()
  for name, instead in (
    ("preset", "preset"),
    ("recipe", "recipe"),
    ("budget", "budget"),
    ("training.checkpoint", "checkpoint"),
  ):
    if name in overrides:
      raise ValueError(f"--config.{name} is not read: give --{instead}")
  overrides["training.checkpoint"] = CHECKPOINT.value
  overrides = data_defaults(PRESET.value) | overrides
  if BUDGET.value is not None:
    overrides["budget"] = BUDGET.value
  return config_lib.make(PRESET.value, RECIPE.value, overrides)
