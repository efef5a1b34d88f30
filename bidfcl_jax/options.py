"""The settings of one part of a run each: plain dataclasses with defaults.

The defaults are those of the recipe `recommended`; presets.py says what the
other recipes and the sizes change, config.py puts them together. Every option
that the paper leaves open has a line in BUILD_NOTES.md.
"""

from dataclasses import dataclass, field

from bidfcl_jax.presets import PLUS_DECISION, PLUS_LOWER


@dataclass
class NetworkConfig:
  """The multi-head MLP that every method shares (paper, section 5.1).

  Attributes:
    hidden: units per hidden layer (the paper: 64-32-32 or 128-64-32).
    activation: "elu" or "relu".
    last_scale: factor on the initial weights of the last layer.
    remat: recompute hidden layers in the backward pass: less memory, more time.
  """

  hidden: tuple[int, ...] = (64, 32, 32)
  activation: str = "elu"
  last_scale: float = 0.3
  remat: bool = False


@dataclass
class SourceConfig:
  """How rows of one source are read and learnt from.

  Attributes:
    batch: rows a step.
    epochs: passes over the source.
    learning_rate: of Adam(W).
    weight_decay: decoupled decay; 0 is plain Adam.
    schedule: "constant" or "cosine" (to 0 over the stage).
  """

  batch: int = 1000
  epochs: int = 12
  learning_rate: float = 1e-3
  weight_decay: float = 1e-3
  schedule: str = "constant"


@dataclass
class DecisionConfig:
  """The decision loss (method.md 3; BUILD_NOTES.md).

  Attributes:
    price_gradient: "frozen" (the paper: revenue alone), "dual" (r - lambda c)
      or "total" (r - mu c, the gradient of the budgeted objective).
    price_of: lambda* meets the budget with the "hard" policy, or the "soft".
    outcomes: what values the policy: observed ones by "ipw", "snipw" or "dr",
      or a teacher's ("plugin").
    covariates: rows of the loss: "rct", or "both" (OBS rows too, whose
      outcomes are never read: "plugin" only).
    price_population: lambda* meets the budget on "rct" rows, or on "obs"
      covariates with the teacher's costs.
    budgets: multiples of what the budget leaves above the cheapest arm, whose
      losses are averaged (methods/budgets.py).
    rows: RCT rows of one decision loss; 0 means all rows up to 10,000.
    price_clip: lambda* stays within [1/clip, clip] x the reference price;
      0 means no clip.
    price_halvings: halvings of the price bracket inside training.
    temperature: ("gap", x): x times the median gap of best to second score,
      frozen at the warm start; ("spread", x): x times the root mean row
      variance of the scores, adaptive; ("absolute", x): money.
    mu_decay: decay of the moving average of mu.
    mu_clip: mu stays within "wide" [0, 10 lambda* + 1] or "narrow"
      [lambda*/4, 2 lambda* + 0.1].
    gap_floor: PIFD's least gap, in median gaps of best to second score.
    window: PIFD: only cells with a gap below this many median gaps; 0: all.
    argmax: PIFD's mismatched best arm; "paper" or "exact".
    multiplier: what PIFD's slopes multiply; "softmax" or "score".
    alpha: DFCL: weight of the prediction loss.
    arm_balanced: DFCL: its prediction loss averages within arms first.
    warm_start: DFCL: start from the two-stage model, else from new weights.
    grid: DPL, DIFD: their prices solve these shares of the budget range; ()
      means the one price of the budget.
  """

  price_gradient: str = "total"
  price_of: str = "hard"
  outcomes: str = "ipw"
  covariates: str = "rct"
  price_population: str = "rct"
  budgets: tuple[float, ...] = (1.0,)
  rows: int = 0
  price_clip: float = 4.0
  price_halvings: int = 25
  temperature: tuple[str, float] = ("spread", 2.0)
  mu_decay: float = 0.9
  mu_clip: str = "wide"
  gap_floor: float = 0.5
  window: float = 0.0
  argmax: str = "paper"
  multiplier: str = "softmax"
  alpha: float = 1.0
  arm_balanced: bool = True
  warm_start: bool = True
  grid: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass
class BilevelConfig:
  """The two levels (Algorithm 1; method.md 4 and 6).

  Attributes:
    bridge: what the bridge does: "gates" (the paper), "weights" (Table 3, row
      3: a weight per OBS outcome, no pseudo-labels) or "additive" (corrects
      the teacher's labels of all cells).
    labels: "frozen_copy", "stop_gradient" or "full": how the target's own part
      of a pseudo-label is differentiated.
    counterfactual_weight: weight of a counterfactual cell against a factual
      one (the paper: 1).
    solver: hypergradient; see bilevel/hypergradient.py. "explicit" updates the
      bridge at every batch.
    damping: added to the curvature, in units of L_PL.
    n_cg: iterations of the linear solver.
    curvature_rows: OBS rows of the curvature; 0 means the whole batch.
    carry_solution: start a solve from the last bridge update's v.
    assumed_steps: SGD steps from the copied theta to theta*.
    assumed_learning_rate: of these steps and of the explicit one; None means
      the target's.
    upper_every: batches between two bridge updates.
    teacher: "rct" (the paper), "finetuned" (OBS, then RCT) or "ensemble"
      (mean of simple.members fine-tuned networks).
    cross_fit: each member leaves a fold of the RCT out, and its predictions
      there are those of members that did not see them; "ensemble" only.
    teacher_share: g of the labels of "additive" and of DIRECT: g of the
      teacher's, 1 - g of what OBS says, which is the observed outcome in the
      received cell and the members' OBS models elsewhere (beyond.md 4).
    start: the target begins with "new" weights or "finetuned" ones.
    bridge_hidden: hidden layers of the bridge; () means the target's.
    bridge_learning_rate: of its Adam.
    explicit_share: the same of "explicit", as a share (more updates).
    bridge_eps: Adam's eps; tiny, since hypergradients are small.
    bridge_last_scale: factor on the initial weights of its last layer.
    gate_start: initial logit of the gates; other bridges start at 0.
    warm_epochs: epochs of lower-level training before the first bridge update.
    warm_share: at most this share of the OBS epochs is warm start.
    max_residual: a solve with a larger relative residual is skipped.
  """

  bridge: str = "gates"
  labels: str = "full"
  counterfactual_weight: float = 1.0
  solver: str = "cg_gauss_newton"
  damping: float = 0.01
  n_cg: int = 10
  curvature_rows: int = 0
  carry_solution: bool = False
  assumed_steps: int = 5
  assumed_learning_rate: float | None = 0.05
  upper_every: int = 5
  teacher: str = "finetuned"
  cross_fit: bool = False
  teacher_share: float = 1.0
  start: str = "new"
  bridge_hidden: tuple[int, ...] = ()
  bridge_learning_rate: float = 5e-4
  explicit_share: float = 0.2
  bridge_eps: float = 1e-12
  bridge_last_scale: float = 0.3
  gate_start: float = 0.0
  warm_epochs: int = 20
  warm_share: float = 1 / 3
  max_residual: float = 1.0


@dataclass
class TeacherConfig:
  """A teacher of another class than the served target (beyond.md).

  Attributes:
    own_class: the teacher is of the target's class and learns as it does; the
      other fields are then not read.
    hidden: units per hidden layer.
    activation: "elu" or "relu".
    obs: its OBS stage.
    finetune: its RCT stage.
  """

  own_class: bool = True
  hidden: tuple[int, ...] = (64, 32, 32)
  activation: str = "elu"
  obs: SourceConfig = field(
    default_factory=lambda: SourceConfig(
      epochs=30, learning_rate=2e-3, weight_decay=0.3, schedule="cosine"
    )
  )
  finetune: SourceConfig = field(
    default_factory=lambda: SourceConfig(
      batch=250, epochs=12, learning_rate=3e-4, weight_decay=0.3
    )
  )


@dataclass
class LowerConfig:
  """How the target of a bi-level method reads OBS; None means as `obs`."""

  batch: int | None = None
  epochs: int | None = None
  learning_rate: float | None = None
  weight_decay: float | None = None
  schedule: str | None = None


@dataclass
class DirectConfig:
  """DIRECT, the single-level twin of the recipe `plus` (beyond.md 4).

  Attributes:
    weight: of the decision loss against the prediction loss.
    decision: its decision loss.
    lower: how it reads OBS.
  """

  weight: float = 10.0
  decision: DecisionConfig = field(
    default_factory=lambda: DecisionConfig(**PLUS_DECISION)
  )
  lower: LowerConfig = field(default_factory=lambda: LowerConfig(**PLUS_LOWER))


@dataclass
class AverageConfig:
  """AVG: the weight of the RCT model among w in {0, 1/(points-1), .., 1}."""

  points: int = 21
  replicates: int = 200


@dataclass
class TrainingConfig:
  """What is the same for every method of a run.

  Attributes:
    checkpoint: "ema_last", "valid_mse" or "valid_eom".
    ema: decay a batch of the moving average of the target.
    max_skipped: non-finite steps in a row that end the run.
    scan_blocks: blocks in one jitted scan; 0 means a whole epoch. A checkpoint
      may follow each scan.
    checkpoint_seconds: least time between two checkpoints inside a stage; one
      is written at the end of every stage anyway.
  """

  checkpoint: str = "ema_last"
  ema: float = 0.99
  max_skipped: int = 100
  scan_blocks: int = 0
  checkpoint_seconds: float = 60.0
