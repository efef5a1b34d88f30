"""The variants of the studies on S1 (BUILD_NOTES.md, "What matters").

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
PAPER = Variant(
  "paper_letter",
  "Bi-DFCL-PPL",
  {"network.activation": "elu"},
  "paper_letter",
)
FT_TUNED = {
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
  Variant("fine-tuning, tuned", "FT", FT_TUNED),
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
    PAPER,
    *_RIVALS,
  ),
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
}
