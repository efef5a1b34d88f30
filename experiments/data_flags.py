"""The flags that name the data, and the study that they mean.

One table, `_READ`, says which flags each source of data reads; a flag given
for nothing is refused rather than passed over.
"""

from collections.abc import Mapping
from typing import Any

import jax
from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import data
from bidfcl_jax.data import criteo, social_pressure
from bidfcl_jax.keys import stream
from bidfcl_jax.presets import paper_sizes
from bidfcl_jax.types import Study

DATA = flags.DEFINE_enum(
  "data",
  "simulated",
  [
    "simulated",
    "hillstrom",
    "social_pressure",
    "criteo",
    "mt_lift",
    "lazada",
    "table",
  ],
  "Where the rows come from. simulated: a world with known outcomes "
  "(--config.simulator.kind=S1|S2|S3). table: your own file. The others are "
  "published files: see experiments.download.",
)
DATA_PATH = flags.DEFINE_string("data_path", None, "File of the rows.")
TEST_PATH = flags.DEFINE_string(
  "test_path",
  None,
  "Second file: the trial of lazada; further rows of the trial of mt_lift.",
)
ROWS = flags.DEFINE_integer(
  "read_rows",
  None,
  "criteo, mt_lift, lazada: read so many rows of a file, from its top.",
  lower_bound=1,
)
CACHE_FOLDER = flags.DEFINE_string(
  "cache_folder",
  None,
  "criteo, mt_lift, lazada: folder that keeps the parsed columns for the next "
  "run; default: keep nothing.",
)
REVENUE_COLUMN = flags.DEFINE_string(
  "revenue_column",
  None,
  "Observed revenue, of an own table, hillstrom (spend, conversion, visit), "
  "criteo (conversion, visit) or mt_lift (conversion, click).",
)
COST_COLUMN = flags.DEFINE_string(
  "cost_column",
  None,
  "Observed cost, of an own table (or give --arm_costs), hillstrom, criteo or "
  "mt_lift.",
)
ARM_COSTS = flags.DEFINE_list(
  "arm_costs",
  None,
  "Known cost of each arm, control first, where it is not learnt; needed by "
  "social_pressure, 0,1 for lazada.",
)
FEATURES = flags.DEFINE_list("features", None, "Own table: feature columns.")
ONE_HOT = flags.DEFINE_list(
  "one_hot", [], "Own table: feature columns of words, a 0/1 feature a word."
)
IMPUTE = flags.DEFINE_list(
  "impute",
  [],
  "Own table: feature columns whose empty cells are filled from training rows "
  "(words by the most frequent), or all.",
)
IMPUTE_BY = flags.DEFINE_enum(
  "impute_by", "mean", ["mean", "median"], "Own table: what fills numbers."
)
ARMS = flags.DEFINE_list(
  "arms", None, "Own table: arm labels in order, the control first."
)
ARM_COLUMN = flags.DEFINE_string("arm_column", None, "Own table: arm received.")
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
ALLOW_NEGATIVE_COST = flags.DEFINE_bool(
  "allow_negative_cost", False, "Own table: a cost may be below 0."
)
PROPENSITY = flags.DEFINE_list(
  "propensity",
  None,
  "Own table: share of each arm in the trial as it was designed, control "
  "first; default: the shares of its training rows.",
)

_OUTCOMES = (REVENUE_COLUMN, COST_COLUMN)
_LARGE = (DATA_PATH, ROWS, CACHE_FOLDER)
_TABLE = (
  FEATURES,
  ONE_HOT,
  IMPUTE,
  IMPUTE_BY,
  ARMS,
  ARM_COLUMN,
  SOURCE_COLUMN,
  GROUP_COLUMN,
  ID_COLUMN,
  DROP_BAD_ROWS,
  ALLOW_NEGATIVE_COST,
  PROPENSITY,
)
_READ = {
  "simulated": (),
  "hillstrom": (DATA_PATH, *_OUTCOMES),
  "social_pressure": (DATA_PATH, ARM_COSTS),
  "criteo": (*_LARGE, *_OUTCOMES),
  "mt_lift": (*_LARGE, TEST_PATH, *_OUTCOMES),
  "lazada": (*_LARGE, TEST_PATH, ARM_COSTS),
  "table": (DATA_PATH, ARM_COSTS, *_OUTCOMES, *_TABLE),
}
_HYBRID = {
  "social_pressure": social_pressure.HYBRID,
  "criteo": criteo.HYBRID,
}


def _data_flags() -> list[flags.Flag]:
  # Where the parsed columns are kept does not change what is read.
  found = flags.FLAGS.flags_by_module_dict()[__name__]
  return [flag for flag in found if flag.name != CACHE_FOLDER.name]


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


def data_defaults(preset: str) -> dict[str, Any]:
  """Returns the data set's own settings: dotted name -> value.

  Args:
    preset: the paper trains a smaller network on Criteo's 12 features.
  """
  own = _HYBRID.get(DATA.value, {})
  values = {f"hybrid.{name}": value for name, value in own.items()}
  if preset == "paper" and DATA.value == "criteo":
    values |= paper_sizes((64, 32, 32), epochs=100)
  return values


def _needed(flag: flags.FlagHolder):
  if flag.value is None:
    raise ValueError(f"--data={DATA.value} needs --{flag.name}")
  return flag.value


def _numbers(flag: flags.FlagHolder) -> list[float] | None:
  if flag.value is None:
    return None
  try:
    return [float(cell) for cell in flag.value]
  except ValueError:
    raise ValueError(
      f"--{flag.name}={','.join(flag.value)}: give one number per arm"
    ) from None


def _refuse_unread() -> None:
  read = {flag.name for flag in (DATA, *_READ[DATA.value])}
  for flag in flags.FLAGS.flags_by_module_dict()[__name__]:
    if flag.present and flag.name not in read:
      raise ValueError(f"--{flag.name} is not read with --data={DATA.value}")


def require_simulated(reason: str) -> None:
  """Refuses other data than simulated worlds, and flags that name some.

  Raises:
    ValueError: with the reason.
  """
  if DATA.value != "simulated":
    raise ValueError(f"--data={DATA.value}: {reason} on --data=simulated only")
  _refuse_unread()


def _outcomes(**defaults: str) -> dict[str, str]:
  given = {"revenue": REVENUE_COLUMN.value, "cost": COST_COLUMN.value}
  return {name: given[name] or value for name, value in defaults.items()}


def _impute():
  return "all" if IMPUTE.value == ["all"] else IMPUTE.value


def world(config: config_lib.Config, seed: int) -> Study:
  """Draws the simulated world of a seed."""
  return data.simulate(stream(jax.random.key(seed), "study"), config.simulator)


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
  _refuse_unread()
  if DATA.value == "simulated":
    return world(config, seed)
  key = stream(jax.random.key(seed), "study")
  path, hybrid = _needed(DATA_PATH), config.hybrid
  large = {"rows": ROWS.value, "cache": CACHE_FOLDER.value}
  if DATA.value == "hillstrom":
    columns = _outcomes(revenue="spend", cost="visit")
    return data.load_hillstrom(path, key=key, hybrid=hybrid, **columns)
  if DATA.value == "social_pressure":
    _needed(ARM_COSTS)
    prices = _numbers(ARM_COSTS)
    return data.load_social_pressure(path, prices, key=key, hybrid=hybrid)
  if DATA.value == "criteo":
    columns = _outcomes(revenue="conversion", cost="visit")
    return data.load_criteo(path, key=key, hybrid=hybrid, **columns, **large)
  if DATA.value == "mt_lift":
    columns = _outcomes(revenue="conversion", cost="click")
    paths = [path] if TEST_PATH.value is None else [path, TEST_PATH.value]
    return data.load_mt_lift(paths, key=key, hybrid=hybrid, **columns, **large)
  if DATA.value == "lazada":
    prices = _numbers(ARM_COSTS) or (0.0, 1.0)
    return data.load_lazada(
      path, _needed(TEST_PATH), key=key, prices=prices, **large
    )
  return data.load_table(
    path,
    features=_needed(FEATURES),
    arms=_needed(ARMS),
    arm_column=_needed(ARM_COLUMN),
    revenue_column=_needed(REVENUE_COLUMN),
    cost_column=COST_COLUMN.value,
    arm_costs=_numbers(ARM_COSTS),
    source_column=_needed(SOURCE_COLUMN),
    group_column=GROUP_COLUMN.value,
    id_column=ID_COLUMN.value,
    propensity=_numbers(PROPENSITY),
    allow_negative_cost=ALLOW_NEGATIVE_COST.value,
    drop_bad_rows=DROP_BAD_ROWS.value,
    one_hot=ONE_HOT.value,
    impute=_impute(),
    impute_by=IMPUTE_BY.value,
    key=key,
  )
