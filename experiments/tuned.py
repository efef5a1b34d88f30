"""chosen.json: the settings that a search chose, as tables read them.

  {"trials": 8, "criterion": "valid_mse", "seeds": [1000, 1001],
   "preset": "quick", "recipe": "recommended",
   "settings": {"data": "simulated", "simulator.kind": "S1", ...},
   "methods": {"FT": {"obs.epochs": 30, ...}, "AVG": {}, ...}}

A method's options stand in place of the preset's and the recipe's; {} means
that the run's own settings were not beaten. An explicit --config flag wins over
the file, for every method. A long search may be split by method over several
files (and processes): `read_all` joins those that searched alike.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods
from bidfcl_jax.files import write_json
from bidfcl_jax.report import display_name
from experiments.trials import criterion_of

# The same for every method of a table, or no setting of a method at all.
_SHARED = ("preset", "recipe", "budget", "simulator.", "hybrid.", "training.")
# Of these, and of the network, what a search must share with its table.
_COMPARED = ("budget", "simulator.", "hybrid.", "network.", "training.check")
_FREE = ("simulator.n_test", "training.checkpoint_seconds")
_FIELDS = {
  "trials": int,
  "criterion": str,
  "seeds": list,
  "preset": str,
  "recipe": str,
  "settings": dict,
  "methods": dict,
}


class Tuned(NamedTuple):
  """What a search chose; the fields are those of the file."""

  trials: int
  criterion: str
  seeds: tuple[int, ...]
  preset: str
  recipe: str
  settings: Mapping[str, Any]
  methods: Mapping[str, Mapping[str, Any]]

  @property
  def words(self) -> str:
    """What a table's caption says."""
    worlds = ", ".join(map(str, self.seeds))
    other = [
      display_name(name)
      for name in self.methods
      if criterion_of(name, self.criterion) != self.criterion
    ]
    said = f" ({', '.join(other)}: by valid_eom)" if other else ""
    return (
      f"tuned: {self.trials} trials a method, by {self.criterion}{said} on "
      f"seeds {worlds}"
    )


def write(path: str | Path, tuned: Tuned) -> None:
  """Writes the file, whole or not at all."""
  write_json(path, tuned._asdict())


def _check_options(path, name: str, options: Any) -> None:
  try:
    methods.check_name(name)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  if not isinstance(options, dict):
    raise ValueError(
      f"{path}: {name} must be an object of option: value, not {options!r}"
    )
  known = config_lib.option_names()
  for option in options:
    if option not in known:
      raise ValueError(f"{path}: {name}: {config_lib.unknown_option(option)}")
    if option.startswith(_SHARED):
      raise ValueError(
        f"{path}: {name}: {option} is the same for every method of a table; "
        f"give it on the command line"
      )


def read(path: str | Path) -> Tuned:
  """Reads the file.

  Raises:
    ValueError: it does not exist or is no such file; a field is missing; an
      unknown method or option (with the nearest), or an option that must be
      the same for all methods.
  """
  try:
    record = json.loads(Path(path).read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise ValueError(f"{path}: cannot be read as JSON: {error}") from None
  for field, kind in _FIELDS.items():
    if not isinstance(record, dict) or not isinstance(record.get(field), kind):
      raise ValueError(
        f"{path}: {field!r} is missing or no {kind.__name__}; the file is "
        "what experiments.tune writes"
      )
  for name, options in record["methods"].items():
    _check_options(path, name, options)
  record = {field: record[field] for field in _FIELDS}
  return Tuned(**record | {"seeds": tuple(record["seeds"])})


def read_all(paths: Sequence[str | Path]) -> Tuned:
  """Reads files of one search whose methods were split over several runs.

  Raises:
    ValueError: no file; one that `read` refuses; files that differ in anything
      but their methods; a method that stands in two.
  """
  if not paths:
    raise ValueError("--tuned names no file")
  first, *others = [read(path) for path in paths]
  found = dict(first.methods)
  for path, other in zip(paths[1:], others, strict=True):
    for field in (f for f in _FIELDS if f != "methods"):
      then, now = getattr(first, field), getattr(other, field)
      if then != now:
        raise ValueError(
          f"{path}: searched with {field} {now}, but {paths[0]} with {then}; "
          "one table takes methods that were searched alike"
        )
    twice = sorted(set(found) & set(other.methods))
    if twice:
      raise ValueError(f"{path}: {twice[0]} stands in an earlier file too")
    found |= other.methods
  return first._replace(methods=found)


def settings_of(
  config: config_lib.Config, data_flags: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the settings that a search and its tables must share.

  Args:
    config: of the run.
    data_flags: those that name the data.

  Returns:
    Option or flag -> value, as JSON gives it back.
  """
  found = {
    option: config_lib.value_of(config, option)
    for option in config_lib.option_names()
    if option.startswith(_COMPARED) and option not in _FREE
  }
  return json.loads(json.dumps({**data_flags, **found}))


def check_use(
  tuned: Tuned,
  seeds: Iterable[int],
  config: config_lib.Config,
  data_flags: Mapping[str, Any],
) -> None:
  """Refuses values that a table must not use.

  Args:
    tuned: of the file.
    seeds: the table's.
    config: the table's.
    data_flags: the table's.

  Raises:
    ValueError: a seed that the search saw, or another data set, preset, recipe,
      budget, world, network or checkpoint rule than the search's.
  """
  seen = sorted(set(tuned.seeds) & set(seeds))
  if seen:
    raise ValueError(
      f"--tuned: seed {seen[0]} was used by the search; give another "
      "--first_seed"
    )
  own = settings_of(config, data_flags)
  for name, then, now in (
    ("preset", tuned.preset, config.preset),
    ("recipe", tuned.recipe, config.recipe),
    *(
      (name, tuned.settings.get(name), own.get(name))
      for name in sorted({*own, *tuned.settings})
    ),
  ):
    if then != now:
      raise ValueError(
        f"--tuned: searched with {name} {then}, but this run has {now}; run "
        "experiments.tune for it"
      )


def options_of(tuned: Tuned, given: Iterable[str]) -> dict[str, dict[str, Any]]:
  """Returns method -> options, without those given on the command line."""
  given = set(given)
  return {
    name: {k: v for k, v in own.items() if k not in given}
    for name, own in tuned.methods.items()
  }


def check_searched(searched: Iterable[str], names: Iterable[str]) -> None:
  """Refuses a method without values: an untuned row among tuned ones.

  Raises:
    ValueError: a name that was not searched.
  """
  missing = [name for name in names if name not in set(searched)]
  if missing:
    raise ValueError(
      f"--tuned: the file has no values for {', '.join(missing)}; run "
      "experiments.tune with them, or leave them out of --method"
    )
