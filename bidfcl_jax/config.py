"""Settings: plain dataclasses, made by `make` and never changed afterwards.

A preset sets sizes (smoke: seconds, quick: minutes on two cores, paper: the
paper's Table 1 and section 5). A recipe sets the method: `paper_letter` is the
paper where it speaks, `recommended` what simulations with known outcomes chose,
`fast` a cheaper form of the latter. Every option that the paper leaves open has
a line in BUILD_NOTES.md.
"""

import copy
import dataclasses
import difflib
import operator
import typing
from dataclasses import dataclass, field
from typing import Any

from bidfcl_jax.baseline_options import (
  CausalEmbeddingsConfig,
  CfrConfig,
  DebiasConfig,
  DhclConfig,
  DistillConfig,
  DragonNetConfig,
  ForestConfig,
  PropensityConfig,
  SimpleConfig,
)
from bidfcl_jax.config_checks import CHECKPOINT_RULES, check, one_of
from bidfcl_jax.config_types import cast, words
from bidfcl_jax.data_options import HybridConfig, SimulatorConfig
from bidfcl_jax.options import (
  AverageConfig,
  BilevelConfig,
  DecisionConfig,
  DirectConfig,
  LowerConfig,
  NetworkConfig,
  SourceConfig,
  TeacherConfig,
  TrainingConfig,
)
from bidfcl_jax.presets import preset_values, recipe_values

__all__ = [
  "CHECKPOINT_RULES",
  "AverageConfig",
  "BilevelConfig",
  "CausalEmbeddingsConfig",
  "CfrConfig",
  "Config",
  "DebiasConfig",
  "DecisionConfig",
  "DhclConfig",
  "DirectConfig",
  "DistillConfig",
  "DragonNetConfig",
  "ForestConfig",
  "HybridConfig",
  "LowerConfig",
  "NetworkConfig",
  "PropensityConfig",
  "SimpleConfig",
  "SimulatorConfig",
  "SourceConfig",
  "TeacherConfig",
  "TrainingConfig",
  "as_dict",
  "make",
  "option_names",
  "unknown_option",
  "value_of",
  "with_options",
]

PRESETS = ("smoke", "quick", "paper")
RECIPES = ("recommended", "paper_letter", "fast", "plus")


@dataclass
class Config:
  """All settings of a run; `make` builds it."""

  preset: str = "quick"
  recipe: str = "recommended"
  budget: float | None = None
  simulator: SimulatorConfig = field(default_factory=SimulatorConfig)
  hybrid: HybridConfig = field(default_factory=HybridConfig)
  network: NetworkConfig = field(default_factory=NetworkConfig)
  obs: SourceConfig = field(default_factory=SourceConfig)
  rct: SourceConfig = field(
    default_factory=lambda: SourceConfig(batch=250, epochs=25)
  )
  finetune: SourceConfig = field(
    default_factory=lambda: SourceConfig(
      batch=250, epochs=25, learning_rate=3e-4
    )
  )
  decision: DecisionConfig = field(default_factory=DecisionConfig)
  bilevel: BilevelConfig = field(default_factory=BilevelConfig)
  lower: LowerConfig = field(default_factory=LowerConfig)
  teacher: TeacherConfig = field(default_factory=TeacherConfig)
  direct: DirectConfig = field(default_factory=DirectConfig)
  average: AverageConfig = field(default_factory=AverageConfig)
  simple: SimpleConfig = field(default_factory=SimpleConfig)
  propensity: PropensityConfig = field(default_factory=PropensityConfig)
  cfr: CfrConfig = field(default_factory=CfrConfig)
  dragonnet: DragonNetConfig = field(default_factory=DragonNetConfig)
  causal_embeddings: CausalEmbeddingsConfig = field(
    default_factory=CausalEmbeddingsConfig
  )
  distill: DistillConfig = field(default_factory=DistillConfig)
  debias: DebiasConfig = field(default_factory=DebiasConfig)
  dhcl: DhclConfig = field(default_factory=DhclConfig)
  forest: ForestConfig = field(default_factory=ForestConfig)
  training: TrainingConfig = field(default_factory=TrainingConfig)


def unknown_option(path: str) -> str:
  """Returns what to say of a dotted name that is no option."""
  near = difflib.get_close_matches(path, option_names(), n=1, cutoff=0.4)
  hint = f"; did you mean {near[0]!r}?" if near else ""
  return f"no option {path!r} in the configuration{hint}"


def _set(config: Config, path: str, value: Any) -> None:
  """Sets one dotted option; unknown names raise with the nearest match."""
  *parents, leaf = path.split(".")
  node: Any = config
  for name in [*parents, leaf]:
    if not dataclasses.is_dataclass(node) or not hasattr(node, name):
      raise ValueError(unknown_option(path))
    node, parent = getattr(node, name), node
  if dataclasses.is_dataclass(node):
    raise ValueError(
      f"{path} is a group of options: give one of them, such as "
      f"{path}.{dataclasses.fields(node)[0].name}"
    )
  kind = typing.get_type_hints(type(parent))[leaf]
  try:
    setattr(parent, leaf, cast(value, kind))
  except TypeError:
    raise ValueError(f"{path}={value!r} must be {words(kind)}") from None


def _apply(config: Config, values: dict[str, Any]) -> None:
  for path, value in values.items():
    _set(config, path, value)


def option_names(node: Any = None, prefix: str = "") -> list[str]:
  """Returns every dotted option name, such as "bilevel.n_cg"."""
  node = Config() if node is None else node
  names = []
  for item in dataclasses.fields(node):
    value = getattr(node, item.name)
    path = f"{prefix}{item.name}"
    if dataclasses.is_dataclass(value):
      names += option_names(value, f"{path}.")
    else:
      names.append(path)
  return names


def make(
  preset: str = "quick",
  recipe: str = "recommended",
  overrides: dict[str, Any] | None = None,
) -> Config:
  """Builds the settings of a run.

  Args:
    preset: sizes, one of PRESETS.
    recipe: the method, one of RECIPES.
    overrides: dotted option name -> value, applied last.

  Returns:
    A Config; treat it as frozen.

  Raises:
    ValueError: an unknown preset, recipe or option (with the nearest match),
      or a value of another type or outside its range.
  """
  one_of("preset", preset, PRESETS)
  one_of("recipe", recipe, RECIPES)
  overrides = dict(overrides or {})
  config = Config(preset=preset, recipe=recipe)
  kind = overrides.get("simulator.kind", config.simulator.kind)
  _apply(config, preset_values(preset, kind))
  # The recipe may depend on sizes: the preset's, or the user's.
  batch = overrides.get("rct.batch", config.rct.batch)
  _apply(config, recipe_values(recipe, batch))
  _apply(config, overrides)
  check(config)
  return copy.deepcopy(config)


def with_options(config: Config, values: dict[str, Any]) -> Config:
  """Returns the settings with some options changed; the given ones stay.

  Args:
    config: made by `make`.
    values: dotted option name -> value.

  Raises:
    ValueError: as `make`.
  """
  config = copy.deepcopy(config)
  _apply(config, values)
  check(config)
  return config


def value_of(config: Config, option: str) -> Any:
  """Returns the value of a dotted option, one of `option_names`."""
  return operator.attrgetter(option)(config)


def as_dict(config: Config) -> dict[str, Any]:
  """Returns the settings as nested plain types, for JSON."""
  return dataclasses.asdict(config)
