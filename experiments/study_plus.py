"""The variants of the studies on S3: recipe plus, its rivals, large worlds.

Beyond the paper (beyond.md 2 to 4): a teacher that saw both sources, served by
a rich or by a linear model, at the default size and near the paper's.
"""

from experiments.study_sets import FT_TUNED, PAPER, StudySet, Variant

_S3 = {"simulator.kind": "S3"}
_LINEAR_FT = {"obs.weight_decay": 1e-2, "finetune.weight_decay": 1e-2}


def _plus_rows(linear: bool) -> tuple[Variant, ...]:
  # A rich served model is of the teacher's class, tuned by FT_TUNED.
  rich = {"teacher.own_class": not linear}
  rows = [
    Variant("FT, tuned", "FT", {"finetune.learning_rate": 1e-4})
    if linear
    else Variant("FT, tuned", "FT"),
    Variant("FT", "FT"),
    Variant("TSM-SL (RCT)", "TSM-SL-RCT"),
    Variant("TSM-SL (RCT+OBS)", "TSM-SL-BOTH"),
    Variant("weights half OBS, half FT", "MEAN-W"),
    Variant("KD of FT-ENS", "FROZEN", rich, "plus"),
    Variant("DIRECT", "DIRECT", rich, "plus"),
    Variant("plus", "Bi-DFCL-PPL", rich, "plus"),
    Variant(
      "plus, upper outcomes dr",
      "Bi-DFCL-PPL",
      {
        **rich,
        "decision.outcomes": "dr",
        "decision.covariates": "rct",
      },
      "plus",
    ),
    Variant(
      "plus, one budget",
      "Bi-DFCL-PPL",
      {**rich, "decision.budgets": (1.0,)},
      "plus",
    ),
    Variant("frozen gates", "FROZEN"),
    Variant("recommended", "Bi-DFCL-PPL"),
    PAPER,
  ]
  if not linear:
    rows[1] = Variant("FT-ENS", "FT-ENS")
  return tuple(rows)


_PLUS_RICH = StudySet(
  "recipe plus and its rivals, rich served model (64-32-32)",
  _plus_rows(linear=False),
  {**_S3, **FT_TUNED},
)
_PLUS_LINEAR = StudySet(
  "recipe plus and its rivals, linear served model, rich teachers",
  _plus_rows(linear=True),
  {**_S3, **_LINEAR_FT, "network.hidden": ()},
)

# 2,000,000 : 200,000. Epochs are counted in updates: 12,000 of OBS and of
# fine-tuning 6,000 for the rich class, 4,000 and 6,000 for the linear one.
_LARGE = {
  "simulator.n_obs": 2_000_000,
  "simulator.n_rct": 200_000,
  "simulator.n_valid": 20_000,
  "simulator.n_test": 20_000,
  "obs.epochs": 6,
  "obs.weight_decay": 0.1,
  "rct.batch": 500,
  "rct.epochs": 20,
  "rct.weight_decay": 0.1,
  "finetune.batch": 2000,
  "finetune.epochs": 60,
  "finetune.weight_decay": 0.1,
  "lower.epochs": 2,
  "direct.lower.epochs": 2,
}
_LARGE_TEACHER = {
  f"teacher.{name}": _LARGE[name]
  for name in (
    "obs.epochs",
    "obs.weight_decay",
    "finetune.batch",
    "finetune.epochs",
    "finetune.weight_decay",
  )
}
_LARGE_RICH = StudySet(
  "2,000,000 OBS and 200,000 RCT rows, rich served model (64-32-32)",
  _plus_rows(linear=False),
  {**_S3, **FT_TUNED, **_LARGE},
)
_LARGE_LINEAR = StudySet(
  "2,000,000 OBS and 200,000 RCT rows, linear served model, rich teachers",
  _plus_rows(linear=True),
  {
    **_S3,
    **_LARGE,
    **_LARGE_TEACHER,
    **_LINEAR_FT,
    "network.hidden": (),
    "obs.epochs": 2,
    "rct.weight_decay": 1e-2,
  },
)

SETS = {
  "plus_rich": _PLUS_RICH,
  "plus_linear": _PLUS_LINEAR,
  "large_rich": _LARGE_RICH,
  "large_linear": _LARGE_LINEAR,
}
