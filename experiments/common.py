"""What the scripts share: the flags of data and settings, and a plain exit.

A script ends with one line on stderr where an input is at fault (a trace with
--debug), with 75 where it was asked to stop and can go on.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import data
from bidfcl_jax.data.social_pressure import HYBRID
from bidfcl_jax.keys import stream
from bidfcl_jax.training import Diverged, Stopped
from bidfcl_jax.types import Study

EXIT_STOPPED = 75

DATA = flags.DEFINE_enum(
  "data",
  "simulated",
  ["simulated", "hillstrom", "social_pressure", "table"],
  "Where the rows come from. simulated: a world with known outcomes "
  "(--config.simulator.kind=S1|S2|S3). table: your own file.",
)
DATA_PATH = flags.DEFINE_string("data_path", None, "File of the rows.")
BUDGET = flags.DEFINE_float(
  "budget",
  None,
  "Budget per capita, original units; default: the study's own (the mean cost "
  "of giving everyone the middle arm).",
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
DEBUG = flags.DEFINE_bool("debug", False, "Show the stack trace of an error.")
CACHE = flags.DEFINE_string(
  "compilation_cache", None, "Folder of XLA's persistent compilation cache."
)

FEATURES = flags.DEFINE_list("features", None, "Own table: feature columns.")
ARMS = flags.DEFINE_list(
  "arms", None, "Own table: arm labels in order, the control first."
)
ARM_COLUMN = flags.DEFINE_string("arm_column", None, "Own table: arm received.")
REVENUE_COLUMN = flags.DEFINE_string(
  "revenue_column",
  None,
  "Observed revenue, of an own table or of hillstrom (spend, conversion, "
  "visit).",
)
COST_COLUMN = flags.DEFINE_string(
  "cost_column",
  None,
  "Observed cost, of an own table (or give --arm_costs) or of hillstrom.",
)
ARM_COSTS = flags.DEFINE_list(
  "arm_costs",
  None,
  "Known cost of each arm, control first, where it is not learnt; needed by "
  "social_pressure.",
)
SOURCE_COLUMN = flags.DEFINE_string(
  "source_column", None, 'Own table: "rct" or "obs" for each row.'
)
GROUP_COLUMN = flags.DEFINE_string(
  "group_column", None, "Own table: household; split and resampled as one."
)
ID_COLUMN = flags.DEFINE_string(
  "id_column", None, "Own table: the individual, which must be unique."
)
DROP_BAD_ROWS = flags.DEFINE_bool(
  "drop_bad_rows", False, "Own table: leave out rows with a flawed cell."
)

# ml_collections writes into this object while flags are parsed, nobody after.
_OVERRIDES = config_flags.DEFINE_config_dataclass(
  "config",
  config_lib.Config(),
  "Any setting: --config.bilevel.n_cg=20. See bidfcl_jax/config.py.",
)


def given_overrides() -> dict[str, Any]:
  """Returns the --config.* flags that were given: dotted name -> value."""
  return dict(config_flags.get_override_values(flags.FLAGS["config"]).items())


# Read by each command for itself, or kept with the settings.
_NOT_OF_DATA = frozenset(
  {"budget", "preset", "recipe", "checkpoint", "debug", "compilation_cache"}
)


def _data_flags() -> list[flags.Flag]:
  found = flags.FLAGS.flags_by_module_dict()[__name__]
  return [f for f in found if f.name not in _NOT_OF_DATA | {"config"}]


def given_flags() -> dict[str, Any]:
  """Returns the flags that name the data: name -> value."""
  given = {flag.name: flag.value for flag in _data_flags() if flag.present}
  return {"data": DATA.value, **given}


def take_flags(stored: Mapping[str, Any]) -> None:
  """Sets the flags of a stored run's data, but for those given anew."""
  for flag in _data_flags():
    if flag.name in stored and not flag.present:
      flag.value = stored[flag.name]
      flag.using_default_value = False


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
  if DATA.value == "social_pressure":
    own = {f"hybrid.{name}": value for name, value in HYBRID.items()}
    overrides = own | overrides
  if BUDGET.value is not None:
    overrides["budget"] = BUDGET.value
  return config_lib.make(PRESET.value, RECIPE.value, overrides)


def _needed(flag: flags.FlagHolder):
  if flag.value is None:
    raise ValueError(f"--data={DATA.value} needs --{flag.name}")
  return flag.value


def _arm_costs() -> list[float] | None:
  if ARM_COSTS.value is None:
    return None
  try:
    return [float(cell) for cell in ARM_COSTS.value]
  except ValueError:
    raise ValueError(
      f"--arm_costs={','.join(ARM_COSTS.value)}: give one number per arm"
    ) from None


def _refuse_unread(names: Sequence[str]) -> None:
  for name in names:
    if flags.FLAGS[name].present:
      raise ValueError(f"--{name} is not read with --data={DATA.value}")


_COLUMN_FLAGS = ("revenue_column", "cost_column")
_TABLE_FLAGS = (
  "features",
  "arms",
  "arm_column",
  "source_column",
  "group_column",
  "id_column",
  "drop_bad_rows",
)


def load_study(config: config_lib.Config, seed: int) -> Study:
  """Makes the study of a seed: a world, or a draw of splits and hybrid.

  Args:
    config: settings.
    seed: the same seed gives all methods the same study.

  Returns:
    The Study.

  Raises:
    ValueError: a flag that is missing or not read, or data that is refused.
  """
  key = stream(jax.random.key(seed), "study")
  if DATA.value != "table":
    _refuse_unread(_TABLE_FLAGS)
  if DATA.value == "simulated":
    _refuse_unread(("data_path", "arm_costs", *_COLUMN_FLAGS))
    return data.simulate(key, config.simulator)
  path = _needed(DATA_PATH)
  if DATA.value == "hillstrom":
    _refuse_unread(("arm_costs",))
    columns = {
      "revenue": REVENUE_COLUMN.value or "spend",
      "cost": COST_COLUMN.value or "visit",
    }
    return data.load_hillstrom(path, key=key, hybrid=config.hybrid, **columns)
  if DATA.value == "social_pressure":
    _refuse_unread(_COLUMN_FLAGS)
    _needed(ARM_COSTS)
    return data.load_social_pressure(
      path, _arm_costs(), key=key, hybrid=config.hybrid
    )
  return data.load_table(
    path,
    features=_needed(FEATURES),
    arms=_needed(ARMS),
    arm_column=_needed(ARM_COLUMN),
    revenue_column=_needed(REVENUE_COLUMN),
    cost_column=COST_COLUMN.value,
    arm_costs=_arm_costs(),
    source_column=_needed(SOURCE_COLUMN),
    group_column=GROUP_COLUMN.value,
    id_column=ID_COLUMN.value,
    drop_bad_rows=DROP_BAD_ROWS.value,
    key=key,
  )


def run(main: Callable[[], None]) -> None:
  """Runs a script's main: no stray words, one line for an error."""

  def guarded(argv):
    if len(argv) > 1:
      print(
        f"error: stray words {argv[1:]}; flags begin with --", file=sys.stderr
      )
      sys.exit(2)
    if not flags.FLAGS["verbosity"].present:
      # Orbax logs twenty lines a checkpoint.
      logging.set_verbosity(logging.WARNING)
    if CACHE.value:
      jax.config.update("jax_compilation_cache_dir", CACHE.value)
    try:
      main()
    except Stopped as stopped:
      print(stopped, file=sys.stderr)
      sys.exit(EXIT_STOPPED)
    except (ValueError, OSError, Diverged) as error:
      if DEBUG.value:
        raise
      print(f"error: {error}", file=sys.stderr)
      sys.exit(1)

  app.run(guarded)
