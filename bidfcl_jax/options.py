"""The settings of one part of a run each: plain dataclasses with defaults.

The defaults are those of the recipe `recommended`; presets.py says what the
other recipes and the sizes change, config.py puts them together. Every option
that the paper leaves open has a line in BUILD_NOTES.md.
"""

from dataclasses import dataclass


@dataclass
class SimulatorConfig:
  """A simulated world (data/simulator.py).

  Attributes:
    kind: "S1" five discounts, "S2" eight money-off arms, "S3" re-activation.
    n_obs: logged rows.
    n_rct: randomised training rows.
    n_valid: randomised validation rows.
    n_test: randomised test rows, with known outcomes.
    features: d.
    confounding: "segment" or "signed".
    gamma: strength of the hidden confounding of the logging policy.
    kappa: effect of the hidden confounder on the outcomes.
    overlap: share of uniform arms mixed into the logging policy.
  """

  kind: str = "S1"
  n_obs: int = 100_000
  n_rct: int = 10_000
  n_valid: int = 5_000
  n_test: int = 10_000
  features: int = 24
  confounding: str = "segment"
  gamma: float = 3.0
  kappa: float = 1.0
  overlap: float = 0.05


@dataclass
class HybridConfig:
  """OBS made out of a real RCT by rejection sampling (data/hybrid.py).

  Attributes:
    strength: k, how strongly the logging policy follows the prognostic score.
    test: share of groups (households, else rows) held out for the test.
    valid: share for validation.
    rct: share for RCT-train; the rest is the pool that OBS is drawn from.
    floor: least logging propensity of an arm (mixed-in uniform policy).
    clip: bound on the size of the standardised prognostic score; 0 means none.
    hidden: columns that drive the logging policy and are withheld from every
      learner (hidden confounding).
  """

  strength: float = 1.0
  test: float = 0.35
  valid: float = 0.10
  rct: float = 0.05
  floor: float = 0.0
  clip: float = 0.0
  hidden: tuple[str, ...] = ()


@dataclass
class NetworkConfig:
  """The multi-head MLP that every method shares (paper, section 5.1).

  Attributes:
    hidden: units per hidden layer (the paper: 64-32-32 or 128-64-32).
    activation: "elu" or "relu".
    last_scale: factor on the initial weights of the last layer.
  """

  hidden: tuple[int, ...] = (64, 32, 32)
  activation: str = "elu"
  last_scale: float = 0.3


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
  """The decision loss on RCT rows (method.md 3; BUILD_NOTES.md).

  Attributes:
    price_gradient: "frozen" (the paper: revenue alone), "dual" (r - lambda c)
      or "total" (r - mu c, the gradient of the budgeted objective).
    rows: RCT rows of one decision loss; 0 means all rows up to 10,000.
    price_clip: lambda* stays within [1/clip, clip] x the reference price;
      0 means no clip.
    price_halvings: halvings of the price bracket inside training.
    temperature: ("gap", x): x times the median gap of best to second score,
      frozen at the warm start; ("spread", x): x times the root mean row
      variance of the scores, adaptive; ("absolute", x): money.
    mu_decay: decay of the moving average of mu.
  """

  price_gradient: str = "total"
  rows: int = 0
  price_clip: float = 4.0
  price_halvings: int = 25
  temperature: tuple[str, float] = ("spread", 2.0)
  mu_decay: float = 0.9


@dataclass
class BilevelConfig:
  """The two levels (Algorithm 1; method.md 4 and 6).

  Attributes:
    labels: "frozen_copy", "stop_gradient" or "full": how the target's own part
      of a pseudo-label is differentiated.
    counterfactual_weight: weight of a counterfactual cell against a factual
      one (the paper: 1).
    solver: hypergradient; see bilevel/hypergradient.py.
    damping: added to the curvature, in units of L_PL.
    n_cg: iterations of the linear solver.
    curvature_rows: OBS rows of the curvature; 0 means the whole batch.
    assumed_steps: SGD steps from the copied theta to theta*.
    assumed_learning_rate: of these steps; None means the target's.
    upper_every: batches between two bridge updates.
    teacher: "rct" (the paper) or "finetuned" (OBS, then RCT).
    bridge_hidden: hidden layers of the bridge; () means the target's.
    bridge_learning_rate: of its Adam.
    bridge_eps: Adam's eps; tiny, since hypergradients are small.
    bridge_last_scale: factor on the initial weights of its last layer.
    gate_start: initial logit of the gates.
    warm_epochs: epochs of lower-level training before the first bridge update.
    warm_share: at most this share of the OBS epochs is warm start.
    max_residual: a solve with a larger relative residual is skipped.
  """

  labels: str = "full"
  counterfactual_weight: float = 1.0
  solver: str = "cg_gauss_newton"
  damping: float = 0.01
  n_cg: int = 10
  curvature_rows: int = 0
  assumed_steps: int = 5
  assumed_learning_rate: float | None = 0.05
  upper_every: int = 5
  teacher: str = "finetuned"
  bridge_hidden: tuple[int, ...] = ()
  bridge_learning_rate: float = 5e-4
  bridge_eps: float = 1e-12
  bridge_last_scale: float = 0.3
  gate_start: float = 0.0
  warm_epochs: int = 20
  warm_share: float = 1 / 3
  max_residual: float = 1.0


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
