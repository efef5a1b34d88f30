"""What is searched for each method, as data: option -> where its values lie.

Every method gets the settings of the sources that it learns from (learning
rate, decay, schedule, epochs) and its own hyper-parameters (baselines.md 0), so
that fine-tuning is searched as hard as Bi-DFCL: tuning the rival decides
(beyond.md 2). Settings that are the same for all methods of a table (network,
budget, checkpoint rule, the world) are searched for none.

An option's values are a Latin hypercube of its own (McKay, Beckman, Conover,
1979): a method with many options loses nothing on each of them, and an option
that two methods share, over one range, takes the same values in both.

Ranges are those of the table in baselines.md 0, and wider where a wider one
helped the rivals (weight decay up to 1: beyond.md 2).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from scipy.stats import qmc

from bidfcl_jax import config as config_lib
from bidfcl_jax.config import Config
from bidfcl_jax.keys import host_generator, stream


class Choice(NamedTuple):
  """One of the values."""

  values: tuple[Any, ...]

  def at(self, share: float, default: Any) -> Any:
    """Returns the value at a share of the range, in [0, 1)."""
    del default
    return self.values[int(share * len(self.values))]


class LogUniform(NamedTuple):
  """A number whose logarithm is uniform from low to high."""

  low: float
  high: float

  def at(self, share: float, default: float | None) -> float | None:
    """Returns the value at a share of the range; None stays None."""
    if default is None:
      return None
    low, high = math.log(self.low), math.log(self.high)
    # Three digits: a value that a reader can type again.
    return float(f"{math.exp(low + share * (high - low)):.3g}")


class Times(NamedTuple):
  """A whole number: the run's own times one of the factors, at least 1.

  Epochs are sizes of a preset: what is long for one is short for another.
  """

  factors: tuple[float, ...]

  def at(self, share: float, default: int | None) -> int | None:
    """Returns the value at a share of the range; None stays None."""
    if default is None:
      return None
    factor = self.factors[int(share * len(self.factors))]
    return max(1, round(factor * default))


class Factor(NamedTuple):
  """(kind, factor): the factor is drawn, the kind is the run's own.

  "gap" and "spread" are multiples of scales that differ by an order.
  """

  factors: tuple[float, ...]

  def at(self, share: float, default: tuple) -> tuple[str, float]:
    """Returns the value at a share of the range, in [0, 1)."""
    return (default[0], self.factors[int(share * len(self.factors))])


Range = Choice | LogUniform | Times | Factor
Space = Mapping[str, Range]


def _source(name: str, rates: LogUniform) -> dict[str, Range]:
  return {
    f"{name}.learning_rate": rates,
    f"{name}.weight_decay": LogUniform(1e-4, 1.0),
    f"{name}.schedule": Choice(("constant", "cosine")),
    f"{name}.epochs": Times((0.5, 1.0, 1.75, 2.5)),
  }


_OBS = _source("obs", LogUniform(3e-4, 3e-3))
_RCT = _source("rct", LogUniform(3e-4, 3e-3))
_FINETUNE = _source("finetune", LogUniform(3e-5, 1e-3))
_TUNED_FT = {**_OBS, **_FINETUNE}
_PULL = {"simple.pull": Choice((0.0, 1e-4, 1e-3, 1e-2, 1e-1))}
_BOTH = {**_OBS, **_RCT}

_TEMPERATURE = Factor((0.1, 0.5, 2.0, 5.0))
_RIDGE = {"simple.ridge": LogUniform(0.1, 100.0)}
_POLICY = {"decision.temperature": _TEMPERATURE}
_DIFFERENCE = {"decision.gap_floor": LogUniform(0.1, 2.0)}
_PRICES = {
  "decision.grid": Choice(
    ((0.5,), (0.25, 0.5, 0.75), (0.1, 0.3, 0.5, 0.7, 0.9))
  )
}
_DFCL = {**_RCT, "decision.alpha": LogUniform(0.1, 10.0)}
_CAP = {"propensity.cap": LogUniform(5.0, 100.0)}
_FOREST = {
  "forest.depth": Choice((16, 20, 24)),
  "forest.leaf": Choice((100, 200, 300)),
}
_META = {
  "debias.meta_learning_rate": LogUniform(1e-3, 5e-3),
  "debias.meta_decay": LogUniform(1e-2, 1e-1),
  # At its default the weights of a slow network hardly leave 1.
  "debias.variance_weight": LogUniform(1e-6, 1e-2),
}
# `bilevel.teacher` says whether the teacher reads rct or finetune.
_FROZEN = {
  **_TUNED_FT,
  **_RCT,
  "lower.epochs": Times((0.5, 1.0, 2.0)),
  "bilevel.gate_start": Choice((-1.0, 0.0, 1.0, 2.0)),
}
_BRIDGED = {
  **_FROZEN,
  "bilevel.bridge_learning_rate": LogUniform(1e-4, 2e-3),
  "bilevel.damping": LogUniform(1e-3, 1e-1),
  "bilevel.assumed_steps": Choice((0, 1, 5)),
}
_EXPLICIT = {
  **_FROZEN,
  "bilevel.bridge_learning_rate": LogUniform(1e-4, 2e-3),
  "bilevel.explicit_share": LogUniform(0.1, 1.0),
  "bilevel.assumed_learning_rate": LogUniform(1e-3, 1e-1),
}

SPACES: dict[str, Space] = {
  "TSM-SL-RCT": _RCT,
  "TSM-SL-OBS": _OBS,
  "TSM-SL-BOTH": _OBS,
  "IPS": {**_OBS, **_CAP},
  "DR-JT": {
    **_OBS,
    **_CAP,
    "propensity.imputer_learning_rate": LogUniform(3e-4, 3e-3),
  },
  "CFR-WASS": {
    **_OBS,
    "cfr.weight": LogUniform(1e-3, 1.0),
    "cfr.epsilon": LogUniform(0.03, 1.0),
    "cfr.sweeps": Choice((10, 20, 50)),
  },
  "CFR-MMD": {**_OBS, "cfr.weight": LogUniform(1e-3, 10.0)},
  "DragonNet": {
    **_OBS,
    "dragonnet.propensity_weight": LogUniform(0.1, 1.0),
    "dragonnet.targeted_weight": Choice((0.0, 0.1, 1.0)),
  },
  "TSM-CF-RCT": _FOREST,
  "TSM-CF-OBS": _FOREST,
  "DHCL": {
    "dhcl.l2": LogUniform(2.5e-5, 3e-2),
    "dhcl.learning_rate": LogUniform(3e-4, 3e-3),
    "dhcl.epochs": Times((0.5, 1.0, 1.75, 2.5)),
  },
  "DFCL-DPL": {**_DFCL, **_PRICES, **_POLICY},
  "DFCL-DIFD": {**_DFCL, **_PRICES, **_DIFFERENCE, **_POLICY},
  "DFCL-PPL": {**_DFCL, **_POLICY},
  "DFCL-PIFD": {**_DFCL, **_DIFFERENCE},
  "FT-PPL": {
    **_TUNED_FT,
    **_PULL,
    **_POLICY,
    "decision.alpha": LogUniform(0.1, 10.0),
  },
  "CausE": {
    **_OBS,
    "causal_embeddings.discrepancy": LogUniform(1e-3, 10.0),
  },
  "KD-Label": {**_BOTH, "distill.label_weight": LogUniform(1e-5, 1.0)},
  "KD-Feature": {
    **_BOTH,
    "distill.feature_weight": Choice((0.1, 0.3, 0.5, 0.7, 0.9)),
  },
  "AutoDebias": {
    **_OBS,
    "debias.imputation_weight": LogUniform(0.01, 1.0),
    "debias.auto_learning_rates": Choice(
      ((1e-3, 1e-3, 1e-3), (1e-3, 1e-3, 1e-2), (1e-2, 1e-2, 1e-2))
    ),
  },
  "LTD-IPS": {**_OBS, **_META},
  "LTD-DR": {**_OBS, **_META},
  "FT": {**_TUNED_FT, **_PULL},
  "MEAN-W": {
    **_TUNED_FT,
    "simple.mean_weight": Choice((0.25, 0.5, 0.75)),
  },
  "FT-ENS": _TUNED_FT,
  "KD-FT": _TUNED_FT,
  "SEED-2": _OBS,
  "AVG": _BOTH,
  "AVG2": _BOTH,
  "AVG-score": _BOTH,
  "STACK": {**_BOTH, **_RIDGE},
  "UNION-w": {
    **_OBS,
    "simple.union_weight": Choice((0.1, 0.25, 0.5, 0.75, 0.9)),
  },
  "RES": {**_OBS, **_RIDGE},
  "SHARED": {**_OBS, **_RIDGE},
  "GROUND": {**_OBS, **_RIDGE},
  "RESPONSE": _OBS,
  "DIRECT": {
    **_TUNED_FT,
    "direct.weight": LogUniform(1.0, 100.0),
    "direct.decision.temperature": _TEMPERATURE,
    "direct.lower.epochs": Times((0.5, 1.0, 2.0)),
  },
  "FROZEN": _FROZEN,
  "Bi-DFCL-PPL": {**_BRIDGED, **_POLICY},
  "Bi-DFCL-PIFD": {**_BRIDGED, **_DIFFERENCE},
  "Bi-DFCL-PPL-explicit": {**_EXPLICIT, **_POLICY},
  "Bi-DFCL-PIFD-explicit": {**_EXPLICIT, **_DIFFERENCE},
}


def draw_trials(
  space: Space, config: Config, key: jax.Array, trials: int
) -> list[dict[str, Any]]:
  """Returns the settings that one method is tried with.

  Args:
    space: option -> range.
    config: the run's own settings.
    key: of the search; an option's values depend on it, the option's name and
      the number of trials alone.
    trials: how many.

  Returns:
    One dict a trial, dotted option -> value. The first is {}: the run's own
    settings. An option that is None there keeps to what it then follows.
  """
  drawn: list[dict[str, Any]] = [{} for _ in range(trials)]
  if trials == 1:
    return drawn
  for option, values in space.items():
    generator = host_generator(stream(key, option))
    shares = qmc.LatinHypercube(1, rng=generator).random(trials - 1)[:, 0]
    default = config_lib.value_of(config, option)
    for trial, share in zip(drawn[1:], shares, strict=True):
      value = values.at(float(share), default)
      if value is not None:
        trial[option] = value
  return drawn
