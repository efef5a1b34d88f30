"""The settings of the rivals, one dataclass a family (baselines.md).

Defaults are the published values where there are any. In brackets: ranges of
baselines.md; what a search draws from stands in experiments/search_space.py.
"""

from dataclasses import dataclass


@dataclass
class PropensityConfig:
  """IPS and DR-JT (methods/propensity.py).

  Attributes:
    cap: greatest inverse propensity [5, 100].
    stabilised: weights p_t / e_t in place of 1 / e_t (IPS).
    normalise: "self" (divide by the batch's weight sum) or "plain" (by n; IPS).
    epochs: passes of the propensity network.
    folds: cross-fitting folds.
    imputer_learning_rate: of DR-JT's imputer.
    imputation: "residual" (label F + G) or "label" (label G).
    imputer_epochs: imputer alone, before the target begins.
    oracle: use the logging propensities where they are known.
  """

  cap: float = 20.0
  stabilised: bool = False
  normalise: str = "self"
  epochs: int = 5
  folds: int = 2
  imputer_learning_rate: float = 1e-3
  imputation: str = "residual"
  imputer_epochs: int = 1
  oracle: bool = False


@dataclass
class CfrConfig:
  """CFR-WASS and CFR-MMD (methods/representation.py).

  Attributes:
    weight: alpha of the distance between arms [1e-3, 1].
    form: of the Wasserstein distance; "debiased" or "cfr" (the public code).
    epsilon: entropy, in units of the mean cost [0.03, 1].
    sweeps: Sinkhorn sweeps [10, 50].
    rows: most rows an arm in one distance.
    least_rows: arms with fewer rows in the batch are left out.
    kernel: of the MMD; "linear" or "rbf".
    against: arms are compared with "control" or with all "rest".
  """

  weight: float = 0.1
  form: str = "debiased"
  epsilon: float = 0.1
  sweeps: int = 20
  rows: int = 256
  least_rows: int = 8
  kernel: str = "linear"
  against: str = "control"


@dataclass
class DragonNetConfig:
  """DragonNet (methods/dragonnet.py).

  Attributes:
    propensity_weight: a, of the propensity head's cross-entropy [0.1, 1].
    targeted_weight: b, of the targeted regularisation [0, 1].
    floor: least propensity in a denominator.
    delay: share of the epochs before b is switched on.
  """

  propensity_weight: float = 1.0
  targeted_weight: float = 1.0
  floor: float = 0.01
  delay: float = 0.1


@dataclass
class CausalEmbeddingsConfig:
  """CausE (methods/causal_embeddings.py).

  Attributes:
    discrepancy: beta [1e-3, 10].
    direction: "one" (predict from the OBS side) or "both" (from the RCT side).
    trunk_decay: L2 on the trunk: beta's meaning follows the trunk's scale.
  """

  discrepancy: float = 1e-2
  direction: str = "one"
  trunk_decay: float = 1e-4


@dataclass
class DistillConfig:
  """KD-Label and KD-Feature (methods/distillation.py).

  Attributes:
    label_form: of KD-Label, "bridge" or "refine".
    label_weight: l2 of "bridge" [1e-5, 1].
    cell_share: of "bridge", probability that a cell is distilled in a batch.
    label_share: q of "refine" [0.1, 1].
    feature_form: of KD-Feature, "hint", "init" or "concat".
    feature_weight: q of "hint" [0.1, 0.9].
  """

  label_form: str = "bridge"
  label_weight: float = 0.1
  cell_share: float = 0.5
  label_share: float = 0.5
  feature_form: str = "hint"
  feature_weight: float = 0.5


@dataclass
class DebiasConfig:
  """LTD-IPS, LTD-DR (methods/debiasing.py), AutoDebias (autodebias.py).

  Attributes:
    meta_learning_rate: of LTD's propensity [1e-3, 5e-3].
    meta_decay: weight decay of it [1e-2, 1e-1].
    meta_eps: Adam's eps of all meta steps; tiny, as hypergradients are small.
    cap: greatest inverse propensity of LTD.
    variance_weight: of the weights' variance in LTD's upper loss.
    imputation_weight: l of AutoDebias [0.01, 1].
    auto_learning_rates: of AutoDebias' w1, w2 and m [1e-3, 1e-2].
    delay: epochs before AutoDebias' w1 and w2 move, at most 1/3 of all.
  """

  meta_learning_rate: float = 1e-3
  meta_decay: float = 1e-2
  meta_eps: float = 1e-12
  cap: float = 20.0
  variance_weight: float = 1e-2
  imputation_weight: float = 0.1
  auto_learning_rates: tuple[float, float, float] = (1e-3, 1e-3, 1e-2)
  delay: int = 20


@dataclass
class DhclConfig:
  """DHCL (methods/dhcl.py).

  Attributes:
    l2: weight decay [1e-4, 3e-2].
    batch: rows a step; arm means need nearly the full set.
    epochs: passes.
    learning_rate: of Adam.
    mean_roi: revenue is rescaled so that the average ROI is this.
  """

  l2: float = 1e-3
  batch: int = 16_384
  epochs: int = 300
  learning_rate: float = 1e-3
  mean_roi: float = 0.3


@dataclass
class ForestConfig:
  """TSM-CF (methods/forest.py; extra `forest`).

  Attributes:
    trees: of a forest.
    depth: greatest depth [16, 24].
    leaf: least rows a leaf [100, 300].
    rows: most rows of one fit.
    folds: cross-fitting of the nuisances (OBS).
    nuisance_trees: of the random forests of outcome and treatment (OBS).
    nuisance_depth: their greatest depth.
    nuisance_leaf: their least rows a leaf, at most a twentieth of all.
  """

  trees: int = 256
  depth: int = 16
  leaf: int = 100
  rows: int = 200_000
  folds: int = 3
  nuisance_trees: int = 160
  nuisance_depth: int = 12
  nuisance_leaf: int = 500


@dataclass
class SimpleConfig:
  """The simple rivals that the paper leaves out (baselines.md 6).

  Attributes:
    members: K of FT-ENS and of ensemble teachers.
    union_weight: w of UNION-w [0.1, 0.9].
    ridge: of RES, STACK, GROUND and SHARED; outcomes in scaled units.
    folds: of the RCT, for STACK's cross-fitted predictions.
    grid: points an axis of AVG2's two weights.
    mean_weight: share of FT in MEAN-W.
    pull: of FT, MEAN-W and FT-PPL towards the OBS model, weight of the
      squared distance [1e-4, 1e-1]; 0 means none.
    layers: what these three fine-tune, "all" or "heads". Teachers and members
      of ensembles are fine-tuned whole and without a pull.
  """

  members: int = 3
  union_weight: float = 0.5
  ridge: float = 1.0
  folds: int = 2
  grid: int = 11
  mean_weight: float = 0.5
  pull: float = 0.0
  layers: str = "all"
