"""Ranges of the options that are numbers: one table, option -> range.

An option that is None follows another one and is not looked at. NaN lies in no
range.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple


class Range(NamedTuple):
  """From low to high; an end may be excluded.

  Attributes:
    low: least value.
    high: greatest value.
    above: low itself is excluded.
    below: high itself is excluded.
  """

  low: float
  high: float = math.inf
  above: bool = False
  below: bool = False

  def holds(self, value: float) -> bool:
    """Whether a value lies in the range."""
    over = value > self.low if self.above else value >= self.low
    under = value < self.high if self.below else value <= self.high
    return over and under

  @property
  def words(self) -> str:
    """The range, in words."""
    low = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
    if self.high == math.inf:
      return low
    return f"{low} and {'below' if self.below else 'at most'} {self.high:g}"


_ONE = Range(1)
_TWO = Range(2)
_COUNT = Range(0)
_AMOUNT = Range(0)
_POSITIVE = Range(0, above=True)
_SHARE = Range(0, 1)
_DECAY = Range(0, 1, below=True)
_PROPER = Range(0, 1, above=True)
_DEAL = Range(0, 1, above=True, below=True)


def _all(names: str, limits: Range, node: str) -> dict[str, Range]:
  return {f"{node}.{name}": limits for name in names.split()}


def _source(node: str) -> dict[str, Range]:
  return {
    **_all("batch epochs", _ONE, node),
    f"{node}.learning_rate": _POSITIVE,
    f"{node}.weight_decay": _AMOUNT,
  }


def _decision(node: str) -> dict[str, Range]:
  return {
    f"{node}.rows": _COUNT,
    f"{node}.price_halvings": _ONE,
    f"{node}.mu_decay": _DECAY,
    f"{node}.gap_floor": _POSITIVE,
    **_all("window alpha", _AMOUNT, node),
  }


_SOURCES = (
  "obs rct finetune teacher.obs teacher.finetune lower direct.lower".split()
)
RANGES: dict[str, Range] = {
  "budget": _AMOUNT,
  **_all("n_obs n_rct n_valid n_test", _ONE, "simulator"),
  **_all("gamma kappa", _AMOUNT, "simulator"),
  "simulator.overlap": _SHARE,
  **_all("test valid rct", _DEAL, "hybrid"),
  "hybrid.strength": Range(-100, 100),
  "hybrid.clip": _AMOUNT,
  "hybrid.floor": _SHARE,
  "network.last_scale": _AMOUNT,
  **{k: v for node in _SOURCES for k, v in _source(node).items()},
  **_decision("decision"),
  **_decision("direct.decision"),
  **_all("n_cg upper_every", _ONE, "bilevel"),
  **_all("curvature_rows assumed_steps warm_epochs", _COUNT, "bilevel"),
  **_all("damping counterfactual_weight max_residual", _AMOUNT, "bilevel"),
  **_all(
    "assumed_learning_rate bridge_learning_rate explicit_share bridge_eps",
    _POSITIVE,
    "bilevel",
  ),
  **_all("teacher_share warm_share", _SHARE, "bilevel"),
  "bilevel.bridge_last_scale": _AMOUNT,
  "bilevel.gate_start": Range(-1e6, 1e6),
  "direct.weight": _AMOUNT,
  "average.points": _TWO,
  "average.replicates": _ONE,
  "simple.members": _ONE,
  **_all("folds grid", _TWO, "simple"),
  **_all("ridge pull", _AMOUNT, "simple"),
  **_all("union_weight mean_weight", _SHARE, "simple"),
  **_all("cap folds epochs", _ONE, "propensity"),
  "propensity.imputer_epochs": _COUNT,
  "propensity.imputer_learning_rate": _POSITIVE,
  "cfr.weight": _AMOUNT,
  "cfr.epsilon": _POSITIVE,
  **_all("sweeps rows least_rows", _ONE, "cfr"),
  **_all("propensity_weight targeted_weight", _AMOUNT, "dragonnet"),
  "dragonnet.floor": _PROPER,
  "dragonnet.delay": _SHARE,
  **_all("discrepancy trunk_decay", _AMOUNT, "causal_embeddings"),
  "distill.label_weight": _AMOUNT,
  **_all("cell_share label_share feature_weight", _SHARE, "distill"),
  **_all("meta_learning_rate meta_eps", _POSITIVE, "debias"),
  **_all("meta_decay variance_weight imputation_weight", _AMOUNT, "debias"),
  "debias.auto_learning_rates": _AMOUNT,
  "debias.cap": Range(1, above=True),
  "debias.delay": _COUNT,
  "dhcl.l2": _AMOUNT,
  **_all("batch epochs", _ONE, "dhcl"),
  **_all("learning_rate mean_roi", _POSITIVE, "dhcl"),
  **_all("trees depth leaf nuisance_trees", _ONE, "forest"),
  **_all("nuisance_depth nuisance_leaf", _ONE, "forest"),
  "forest.rows": Range(4),
  "forest.folds": _TWO,
  "training.ema": _DECAY,
  "training.max_skipped": _ONE,
  "training.scan_blocks": _COUNT,
  "training.checkpoint_seconds": _AMOUNT,
  # Of each number of a tuple.
  "decision.grid": _PROPER,
  "direct.decision.grid": _PROPER,
  "decision.budgets": _POSITIVE,
  "direct.decision.budgets": _POSITIVE,
  "network.hidden": _ONE,
  "teacher.hidden": _ONE,
  "bilevel.bridge_hidden": _ONE,
}


def check_range(option: str, value: Any) -> None:
  """Checks one option.

  Args:
    option: dotted name of RANGES.
    value: a number, a tuple of them, or None.

  Raises:
    ValueError: a number outside the option's range.
  """
  if value is None:
    return
  limits = RANGES[option]
  numbers = value if isinstance(value, Iterable) else (value,)
  for number in numbers:
    if not limits.holds(number):
      raise ValueError(f"{option}={value} must be {limits.words}")
