"""The values behind the words: presets set sizes, recipes set the method.

Each is a dictionary from dotted option name to value, applied by config.make
in the order preset, recipe, user.
"""

from typing import Any

# The decision loss and the lower level of `plus` and of DIRECT (beyond.md 4).
PLUS_DECISION = {
  "outcomes": "plugin",
  "covariates": "both",
  "budgets": (0.5, 1.0, 1.5),
  "rows": 5_000,
  "temperature": ("spread", 0.1),
  "mu_clip": "narrow",
}
PLUS_LOWER = {"epochs": 8, "schedule": "cosine"}

# Sizes of the paper's Table 1 (Marketing II for S1 and S3, I for S2).
_PAPER_WORLD = {
  "S1": (33_815_274, 2_017_450, 504_362, 2_521_813, 192),
  "S2": (22_201_405, 2_220_781, 555_014, 2_775_976, 180),
}
_QUICK_WORLD = {
  "S1": (100_000, 10_000, 5_000, 10_000, 24),
  "S2": (60_000, 6_000, 3_000, 10_000, 24),
}
_SMOKE_WORLD = (4_000, 1_000, 500, 1_000, 12)
# Full forests take one core over half an hour on the logs of a quick world.
_QUICK_FOREST = {
  "forest.trees": 64,
  "forest.nuisance_trees": 40,
  "forest.rows": 20_000,
}
_WORLD_FIELDS = ("n_obs", "n_rct", "n_valid", "n_test", "features")


def preset_values(preset: str, kind: str) -> dict[str, Any]:
  """Returns the sizes of a preset for a world of the given kind."""
  sizes = {"smoke": {}, "quick": _QUICK_WORLD, "paper": _PAPER_WORLD}[preset]
  family = "S2" if kind == "S2" else "S1"
  world = sizes.get(family, _SMOKE_WORLD)
  values = {
    f"simulator.{name}": value
    for name, value in zip(_WORLD_FIELDS, world, strict=True)
  }
  if preset == "smoke":
    values |= {
      "obs.batch": 200,
      "obs.epochs": 3,
      "rct.batch": 100,
      "rct.epochs": 3,
      "finetune.batch": 100,
      "finetune.epochs": 2,
      "network.hidden": (16, 16),
      "teacher.hidden": (16, 16),
      "teacher.obs.batch": 200,
      "teacher.obs.epochs": 6,
      "teacher.finetune.batch": 100,
      "teacher.finetune.epochs": 2,
      "forest.trees": 16,
      "forest.nuisance_trees": 8,
    }
  elif preset == "quick":
    values |= _QUICK_FOREST
  elif preset == "paper":
    values |= paper_sizes((128, 64, 32), epochs=500)
  return values


def paper_sizes(hidden: tuple[int, ...], epochs: int) -> dict[str, Any]:
  """Returns the paper's sizes of networks and training (its Appendix)."""
  values = {"network.hidden": hidden, "teacher.hidden": hidden}
  for source in ("obs", "rct", "finetune", "teacher.obs", "teacher.finetune"):
    values |= {f"{source}.batch": 4096, f"{source}.epochs": epochs}
  return values


def recipe_values(recipe: str, rct_batch: int) -> dict[str, Any]:
  """Returns what a recipe changes against `recommended` ."""
  if recipe == "paper_letter":
    return {
      "network.activation": "relu",
      "obs.weight_decay": 0.0,
      "rct.weight_decay": 0.0,
      "finetune.weight_decay": 0.0,
      "decision.price_gradient": "frozen",
      "decision.rows": max(1000, rct_batch),
      "decision.price_clip": 0.0,
      "decision.temperature": ("gap", 1.0),
      "bilevel.labels": "frozen_copy",
      "bilevel.solver": "cg",
      "bilevel.damping": 0.0,
      "bilevel.n_cg": 50,
      "bilevel.assumed_learning_rate": None,
      "bilevel.teacher": "rct",
      "bilevel.bridge_learning_rate": 1e-3,
      "bilevel.explicit_share": 1.0,
      "bilevel.max_residual": 1e3,
    }
  if recipe == "fast":
    return {
      "decision.rows": 2_000,
      "decision.price_halvings": 8,
      "bilevel.n_cg": 5,
      "bilevel.curvature_rows": 256,
      "bilevel.assumed_steps": 0,
      "bilevel.bridge_hidden": (16,),
    }
  if recipe == "plus":
    return {
      **{f"decision.{name}": value for name, value in PLUS_DECISION.items()},
      **{f"lower.{name}": value for name, value in PLUS_LOWER.items()},
      "bilevel.bridge": "additive",
      "bilevel.assumed_steps": 0,
      "bilevel.teacher": "ensemble",
      # Rich and tuned, whatever class is served.
      "teacher.own_class": False,
      "bilevel.start": "finetuned",
      "bilevel.bridge_hidden": (32,),
      "bilevel.bridge_learning_rate": 1e-3,
      "bilevel.bridge_last_scale": 0.0,
      "bilevel.warm_epochs": 1,
    }
  return {}
