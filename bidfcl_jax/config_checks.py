"""Refuses settings that cannot be meant: a message names option and value."""

from typing import Any

from bidfcl_jax.config_ranges import RANGES, check_range

CHECKPOINT_RULES = ("ema_last", "valid_mse", "valid_eom")

# Words that an option may hold. Those of the solver live in bilevel/, those of
# cfr in losses/, which the settings must not import: tests/test_config.py
# compares them.
_WORDS = {
  "simulator.kind": ("S1", "S2", "S3"),
  "simulator.confounding": ("segment", "signed"),
  "network.activation": ("elu", "relu"),
  "teacher.activation": ("elu", "relu"),
  "training.checkpoint": CHECKPOINT_RULES,
  "simple.layers": ("all", "heads"),
  "propensity.normalise": ("self", "plain"),
  "propensity.imputation": ("residual", "label"),
  "causal_embeddings.direction": ("one", "both"),
  "distill.label_form": ("bridge", "refine"),
  "distill.feature_form": ("hint", "init", "concat"),
  "cfr.form": ("debiased", "cfr"),
  "cfr.kernel": ("linear", "rbf"),
  "cfr.against": ("control", "rest"),
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


def _decision(config: Any, path: str) -> None:
  node = _at(config, path)
  for name, words in _DECISION_WORDS.items():
    one_of(f"{path}.{name}", getattr(node, name), words)
  one_of(
    f"{path}.temperature", node.temperature[0], ("gap", "spread", "absolute")
  )
  # At 0 a policy is a step, which has no gradient.
  if not node.temperature[1] > 0:
    raise ValueError(f"{path}.temperature={node.temperature} must be above 0")
  if not (node.price_clip == 0 or node.price_clip > 1):
    raise ValueError(
      f"{path}.price_clip={node.price_clip} must be above 1, or 0 for no clip"
    )
  if not node.budgets:
    raise ValueError(f"{path}.budgets is empty: give multiples of the budget")
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
  for path in RANGES:
    check_range(path, _at(config, path))
  for path in ("obs", "rct", "finetune", "teacher.obs", "teacher.finetune"):
    one_of(f"{path}.schedule", _at(config, path).schedule, _SCHEDULES)
  for path in ("decision", "direct.decision"):
    _decision(config, path)
  for path in ("lower", "direct.lower"):
    if _at(config, path).schedule is not None:
      one_of(f"{path}.schedule", _at(config, path).schedule, _SCHEDULES)
  if config.bilevel.cross_fit and config.bilevel.teacher != "ensemble":
    raise ValueError(
      "bilevel.cross_fit needs bilevel.teacher=ensemble: the members leave "
      "different folds out"
    )
  if config.bilevel.cross_fit and config.simple.members < 2:
    raise ValueError("bilevel.cross_fit needs simple.members of at least 2")
  share = config.bilevel.teacher_share
  if share < 1 and config.bilevel.teacher == "rct":
    raise ValueError(
      f"bilevel.teacher_share={share} needs a teacher that began on OBS: "
      "bilevel.teacher=finetuned or ensemble"
    )
