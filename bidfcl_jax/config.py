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
from bidfcl_jax.options import (
  AverageConfig,
  BilevelConfig,
  DecisionConfig,
  HybridConfig,
  NetworkConfig,
  SimulatorConfig,
  SourceConfig,
  TrainingConfig,
)
from bidfcl_jax.presets import preset_values, recipe_values

__all__ = [
  "AverageConfig",
  "BilevelConfig",
  "CausalEmbeddingsConfig",
  "CfrConfig",
  "Config",
  "DebiasConfig",
  "DecisionConfig",
  "DhclConfig",
  "DistillConfig",
  "DragonNetConfig",
  "ForestConfig",
  "HybridConfig",
  "NetworkConfig",
  "PropensityConfig",
  "SimpleConfig",
  "SimulatorConfig",
  "SourceConfig",
  "TrainingConfig",
  "as_dict",
  "make",
  "option_names",
]

PRESETS = ("smoke", "quick", "paper")
RECIPES = ("recommended", "paper_letter", "fast")
CHECKPOINT_RULES = ("ema_last", "valid_mse", "valid_eom")


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


def _set(config: Config, path: str, value: Any) -> None:
  """Sets one dotted option; unknown names raise with the nearest match."""
  *parents, leaf = path.split(".")
  node: Any = config
  for name in [*parents, leaf]:
    if not dataclasses.is_dataclass(node) or not hasattr(node, name):
      near = difflib.get_close_matches(path, option_names(), n=1, cutoff=0.4)
      hint = f"; did you mean {near[0]!r}?" if near else ""
      raise ValueError(f"no option {path!r} in the configuration{hint}")
    node, parent = getattr(node, name), node
  kind = typing.get_type_hints(type(parent))[leaf]
  if kind is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if isinstance(value, list):
    value = tuple(value)
  setattr(parent, leaf, value)


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


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
  if value not in allowed:
    raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")


def _check(config: Config) -> None:
  _one_of("simulator.kind", config.simulator.kind, ("S1", "S2", "S3"))
  _one_of("training.checkpoint", config.training.checkpoint, CHECKPOINT_RULES)
  _one_of("network.activation", config.network.activation, ("elu", "relu"))
  _one_of(
    "decision.price_gradient",
    config.decision.price_gradient,
    ("frozen", "dual", "total"),
  )
  _one_of(
    "decision.temperature",
    config.decision.temperature[0],
    ("gap", "spread", "absolute"),
  )
  _one_of(
    "bilevel.labels",
    config.bilevel.labels,
    ("frozen_copy", "stop_gradient", "full"),
  )
  _one_of("bilevel.teacher", config.bilevel.teacher, ("rct", "finetuned"))
  for source in ("obs", "rct", "finetune"):
    node = getattr(config, source)
    _one_of(f"{source}.schedule", node.schedule, ("constant", "cosine"))
    if node.batch < 1 or node.epochs < 1:
      raise ValueError(
        f"{source}.batch={node.batch}, {source}.epochs={node.epochs}: both "
        "must be at least 1"
      )
  if config.bilevel.upper_every < 1:
    raise ValueError(
      f"bilevel.upper_every={config.bilevel.upper_every} must be at least 1"
    )
  if config.budget is not None and config.budget < 0:
    raise ValueError(f"budget={config.budget} must not be negative")


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
      or a value outside its range.
  """
  _one_of("preset", preset, PRESETS)
  _one_of("recipe", recipe, RECIPES)
  overrides = dict(overrides or {})
  config = Config(preset=preset, recipe=recipe)
  kind = overrides.get("simulator.kind", config.simulator.kind)
  for values in (
    preset_values(preset, kind),
    recipe_values(recipe, config.rct.batch),
    overrides,
  ):
    for path, value in values.items():
      _set(config, path, value)
  _check(config)
  return copy.deepcopy(config)


def as_dict(config: Config) -> dict[str, Any]:
  """Returns the settings as nested plain types, for JSON."""
  return dataclasses.asdict(config)
