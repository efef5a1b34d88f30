"""The variants of each study (BUILD_NOTES.md, "What matters").

A variant is a method with settings of its own; the first of a set is what the
others are compared with. Settings that a set shares stand in `base`.
"""

from typing import Any, NamedTuple


class Variant(NamedTuple):
  """One row of a study's table.

  Attributes:
    label: its name.
    method: a name of the registry.
    options: dotted option -> value, over those of the set.
    recipe: None: the recipe of the run.
  """

  label: str
  method: str
  options: dict[str, Any] = {}
  recipe: str | None = None


class StudySet(NamedTuple):
  """The rows of one table.

  Attributes:
    about: what the table shows, for its caption.
    variants: the first is the one that the others are compared with.
    base: options of all.
  """

  about: str
  variants: tuple[Variant, ...]
  base: dict[str, Any] = {}


def _ours(label: str, **options: Any) -> Variant:
  return Variant(
    label,
    "Bi-DFCL-PPL",
    {name.replace("__", "."): value for name, value in options.items()},
  )


# The network is the table's: only the method is the paper's.
_PAPER = Variant(
  "paper_letter",
  "Bi-DFCL-PPL",
  {"network.activation": "elu"},
  "paper_letter",
)
_FT_TUNED = {
  "obs.epochs": 30,
  "obs.learning_rate": 2e-3,
  "obs.schedule": "cosine",
  "obs.weight_decay": 0.3,
  "finetune.epochs": 12,
  "finetune.weight_decay": 0.3,
}
_RIVALS = (
  Variant("TSM-SL (RCT)", "TSM-SL-RCT"),
  Variant("TSM-SL (RCT+OBS)", "TSM-SL-BOTH"),
  Variant("fine-tuning", "FT"),
  Variant("fine-tuning, tuned", "FT", _FT_TUNED),
  Variant("frozen gates", "FROZEN"),
)

_LADDER = StudySet(
  "ladder of the paper's Table 3 (baselines.md 5.2)",
  (
    Variant("5 implicit", "Bi-DFCL-PPL"),
    Variant("1 TSM-SL (RCT)", "TSM-SL-RCT"),
    Variant("2 DFCL-PPL (RCT)", "DFCL-PPL"),
    Variant("2w DFCL-PPL from OBS", "FT-PPL"),
    Variant(
      "3 reweighting, explicit",
      "Bi-DFCL-PPL-explicit",
      {"bilevel.bridge": "weights"},
    ),
    Variant(
      "3i reweighting, implicit", "Bi-DFCL-PPL", {"bilevel.bridge": "weights"}
    ),
    Variant("4 gates, explicit", "Bi-DFCL-PPL-explicit"),
    Variant("4c constant gate", "FROZEN", {"bilevel.bridge_last_scale": 0.0}),
    Variant("fine-tuning", "FT"),
  ),
)

_DECISION = StudySet(
  "options of the upper level's decision loss",
  (
    _ours("default"),
    _ours("price_gradient frozen", decision__price_gradient="frozen"),
    _ours("price_gradient dual", decision__price_gradient="dual"),
    _ours("price_of soft", decision__price_of="soft"),
    _ours("temperature spread 0.5", decision__temperature=("spread", 0.5)),
    _ours("temperature spread 4", decision__temperature=("spread", 4.0)),
    _ours("temperature gap 1", decision__temperature=("gap", 1.0)),
    _ours("upper batch 1,000", decision__rows=1000),
    _ours("outcomes snipw", decision__outcomes="snipw"),
    _ours("outcomes dr", decision__outcomes="dr"),
    _ours(
      "outcomes dr, cross-fitted ensemble",
      decision__outcomes="dr",
      bilevel__teacher="ensemble",
      bilevel__cross_fit=True,
    ),
    _ours("three budgets", decision__budgets=(0.5, 1.0, 1.5)),
    Variant("PIFD paper, softmax", "Bi-DFCL-PIFD"),
    Variant(
      "PIFD exact, softmax", "Bi-DFCL-PIFD", {"decision.argmax": "exact"}
    ),
    Variant(
      "PIFD paper, score", "Bi-DFCL-PIFD", {"decision.multiplier": "score"}
    ),
    Variant(
      "PIFD exact, score",
      "Bi-DFCL-PIFD",
      {"decision.argmax": "exact", "decision.multiplier": "score"},
    ),
    Variant("fine-tuning", "FT"),
    Variant("frozen gates", "FROZEN"),
  ),
)

_BILEVEL = StudySet(
  "options of the two levels",
  (
    _ours("default"),
    _ours("labels frozen_copy", bilevel__labels="frozen_copy"),
    _ours("labels stop_gradient (w)", bilevel__labels="stop_gradient"),
    _ours("k = 0", bilevel__assumed_steps=0),
    _ours("k = 1", bilevel__assumed_steps=1),
    _ours("k = 10", bilevel__assumed_steps=10),
    _ours("n_cg 5", bilevel__n_cg=5),
    _ours("n_cg 50", bilevel__n_cg=50),
    _ours("damping 0.1", bilevel__damping=0.1),
    _ours("warm-started v", bilevel__carry_solution=True),
    _ours("Hessian, damping 0", bilevel__solver="cg", bilevel__damping=0.0),
    _ours("Hessian, damping 0.1", bilevel__solver="cg", bilevel__damping=0.1),
    # Its residual is no measure of it: 1 would refuse every update.
    _ours("identity", bilevel__solver="identity", bilevel__max_residual=1e3),
    Variant("explicit", "Bi-DFCL-PPL-explicit"),
    _ours("reweighting", bilevel__bridge="weights"),
    _ours("gate start -1", bilevel__gate_start=-1.0),
    _ours("gate start +2", bilevel__gate_start=2.0),
    _ours("bridge of 16 units", bilevel__bridge_hidden=(16,)),
    _ours("teacher RCT", bilevel__teacher="rct"),
    Variant("frozen gates, teacher RCT", "FROZEN", {"bilevel.teacher": "rct"}),
    _ours("teacher ensemble", bilevel__teacher="ensemble"),
    Variant(
      "frozen gates, teacher ensemble",
      "FROZEN",
      {"bilevel.teacher": "ensemble"},
    ),
    Variant("fast", "Bi-DFCL-PPL", recipe="fast"),
    _PAPER,
    *_RIVALS,
  ),
)

_S3 = {"simulator.kind": "S3"}
_RICH_TEACHER = {"teacher.own_class": False}
_LINEAR_FT = {"obs.weight_decay": 1e-2, "finetune.weight_decay": 1e-2}


def _plus_rows(linear: bool) -> tuple[Variant, ...]:
  rich = _RICH_TEACHER if linear else {}
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
    _PAPER,
  ]
  if not linear:
    rows[1] = Variant("FT-ENS", "FT-ENS")
  return tuple(rows)


_PLUS_RICH = StudySet(
  "recipe plus and its rivals, rich served model (64-32-32)",
  _plus_rows(linear=False),
  {**_S3, **_FT_TUNED},
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
  {**_S3, **_FT_TUNED, **_LARGE},
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

# One table for what matters most: the ladder, the decision loss, the levels.
_MATTERS = StudySet(
  "what matters",
  (
    _ours("5 default (implicit)"),
    *_LADDER.variants[1:],
    *(
      row
      for row in _DECISION.variants + _BILEVEL.variants
      if row.label
      in (
        "price_gradient frozen",
        "price_gradient dual",
        "price_of soft",
        "temperature spread 0.5",
        "temperature spread 4",
        "upper batch 1,000",
        "PIFD paper, softmax",
        "PIFD exact, score",
        "labels frozen_copy",
        "labels stop_gradient (w)",
        "k = 0",
        "k = 10",
        "n_cg 50",
        "Hessian, damping 0.1",
        "identity",
        "gate start +2",
        "teacher RCT",
        "frozen gates, teacher RCT",
        "teacher ensemble",
        "fast",
        "paper_letter",
        "fine-tuning, tuned",
      )
    ),
    Variant("frozen gates", "FROZEN"),
  ),
)

SETS = {
  "matters": _MATTERS,
  "ladder": _LADDER,
  "decision": _DECISION,
  "bilevel": _BILEVEL,
  "plus_rich": _PLUS_RICH,
  "plus_linear": _PLUS_LINEAR,
  "large_rich": _LARGE_RICH,
  "large_linear": _LARGE_LINEAR,
}
