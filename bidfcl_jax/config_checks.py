"""Refuses settings that cannot be meant: a message names option and value."""

from typing import Any

CHECKPOINT_RULES = ("ema_last", "valid_mse", "valid_eom")

# Words that an option may hold. Those of the solver live in bilevel/, which
# the settings must not import: tests/test_config.py compares the two.
_WORDS = {
  "simulator.kind": ("S1", "S2", "S3"),
  "simulator.confounding": ("segment", "signed"),
  "network.activation": ("elu", "relu"),
  "teacher.activation": ("elu", "relu"),
  "training.checkpoint": CHECKPOINT_RULES,
  "bilevel.bridge": ("gates", "weights", "additive"),
  "bilevel.labels": ("frozen_copy", "stop_gradient", "full"),
  "bilevel.solver": (
    "cg",
    "cg_gauss_newton",
    "cg_normal",
    "neumann",
    "identity",
    "explicit",
    "unrolled",
  ),
  "bilevel.teacher": ("rct", "finetuned", "ensemble"),
  "bilevel.start": ("new", "finetuned"),
}
_DECISION_WORDS = {
  "price_gradient": ("frozen", "dual", "total"),
  "price_of": ("hard", "soft"),
  "outcomes": ("ipw", "snipw", "dr", "plugin"),
  "covariates": ("rct", "both"),
  "price_population": ("rct", "obs"),
  "mu_clip": ("wide", "narrow"),
  "argmax": ("paper", "exact"),
  "multiplier": ("softmax", "score"),
}
_SCHEDULES = ("constant", "cosine")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
  """Raises ValueError where value is not one of the allowed words."""
  if value not in allowed:
    raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")


def _at(config: Any, path: str) -> Any:
  for name in path.split("."):
    config = getattr(config, name)
  return config


def _source(config: Any, path: str) -> None:
  source = _at(config, path)
  one_of(f"{path}.schedule", source.schedule, _SCHEDULES)
  if source.batch < 1 or source.epochs < 1:
    raise ValueError(
      f"{path}.batch={source.batch}, {path}.epochs={source.epochs}: both must "
      "be at least 1"
    )


def _decision(config: Any, path: str) -> None:
  node = _at(config, path)
  for name, words in _DECISION_WORDS.items():
    one_of(f"{path}.{name}", getattr(node, name), words)
  one_of(
    f"{path}.temperature", node.temperature[0], ("gap", "spread", "absolute")
  )
  if not node.budgets or min(node.budgets) <= 0:
    raise ValueError(
      f"{path}.budgets={node.budgets}: give positive multiples of the budget"
    )
  if node.covariates == "both" and node.outcomes != "plugin":
    raise ValueError(
      f"{path}.covariates=both needs {path}.outcomes=plugin, not "
      f"{node.outcomes}: an OBS row lends its covariates, never its outcome"
    )


def check(config: Any) -> None:
  """Checks a Config.

  Raises:
    ValueError: an unknown word, a number outside its range, or options that
      contradict each other.
  """
  for path, words in _WORDS.items():
    one_of(path, _at(config, path), words)
  for path in ("obs", "rct", "finetune", "teacher.obs", "teacher.finetune"):
    _source(config, path)
  for path in ("decision", "direct.decision"):
    _decision(config, path)
  for path in ("lower", "direct.lower"):
    if _at(config, path).schedule is not None:
      one_of(f"{path}.schedule", _at(config, path).schedule, _SCHEDULES)
  if config.bilevel.upper_every < 1:
    raise ValueError(
      f"bilevel.upper_every={config.bilevel.upper_every} must be at least 1"
    )
  if config.bilevel.cross_fit and config.bilevel.teacher != "ensemble":
    raise ValueError(
      "bilevel.cross_fit needs bilevel.teacher=ensemble: the members leave "
      "different folds out"
    )
  if config.bilevel.cross_fit and config.simple.members < 2:
    raise ValueError("bilevel.cross_fit needs simple.members of at least 2")
  share = config.bilevel.teacher_share
  if not 0 <= share <= 1:
    raise ValueError(f"bilevel.teacher_share={share} is not within [0, 1]")
  if share < 1 and config.bilevel.teacher == "rct":
    raise ValueError(
      f"bilevel.teacher_share={share} needs a teacher that began on OBS: "
      "bilevel.teacher=finetuned or ensemble"
    )
  if config.budget is not None and config.budget < 0:
    raise ValueError(f"budget={config.budget} must not be negative")
