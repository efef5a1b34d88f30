r"""Times AUCC and its bootstrap against plain NumPy.

    python -m experiments.bench.evaluation --rows=1000000 --replicates=200

The trial is binary in revenue and cost, its scores noisy. The NumPy rival is
what one would write: a stable sort, prefix sums, the first prefix to reach each
level; its bootstrap draws Poisson weights for rows that are sorted once. Where
`causalml` imports, its AUUC is timed too. A bootstrap's value is the standard
deviation of its replicates.
"""

import statistics

import jax
import numpy as np
from absl import flags

from bidfcl_jax.evaluation import aucc, aucc_by_weight, bootstrap
from bidfcl_jax.types import Outcomes, Samples
from experiments import guard
from experiments.bench.measure import (
  REPEATS,
  keeping,
  median_ratio,
  publish,
  rounds,
)

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "n", 100)
_REPLICATES = flags.DEFINE_integer("replicates", 200, "of the bootstrap", 2)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 2, "rounds of these", 1)
_BINS = 200


def trial(n: int) -> tuple[Outcomes, Samples]:
  """Returns noisy predictions `[n, 2]` and a trial of two arms."""
  rng = np.random.default_rng(0)
  a, b = rng.random((2, n))
  arm = (rng.random(n) < 0.5).astype(np.int32)
  gain, spend = 0.02 + 0.10 * a**2, 0.05 + 0.20 * b
  revenue = (rng.random(n) < 0.05 + gain * arm).astype(np.float32)
  cost = (rng.random(n) < 0.10 + spend * arm).astype(np.float32)
  seen = gain + 0.1 * (rng.random(n) - 0.5)
  zero = np.zeros(n)
  outcomes = Outcomes(np.stack([zero, seen], 1), np.stack([zero, spend], 1))
  return outcomes, Samples(np.zeros((n, 0), np.float32), arm, revenue, cost)


def plain_order(outcomes: Outcomes) -> np.ndarray:
  """Returns the rows in falling order of predicted return."""
  score = outcomes.revenue[:, 1] / outcomes.cost[:, 1]
  return np.argsort(-score, kind="stable")


def plain_area(arm, revenue, cost, weight) -> float:
  """Returns AUCC of sorted rows by prefix sums, vectorised over levels."""
  treated, control = weight * arm, weight * (1 - arm)
  sign = treated / treated.sum() - control / control.sum()
  spent, earned = np.cumsum(cost * sign), np.cumsum(revenue * sign)
  levels = np.arange(1, _BINS) / _BINS * spent[-1]
  at = np.searchsorted(np.maximum.accumulate(spent), levels)
  total = earned[at].sum() + earned[-1]
  return float(total / (earned[-1] * (_BINS + 1)))


def rivals(outcomes: Outcomes, samples: Samples) -> dict:
  """Returns what of other packages can be timed on this machine, by name."""
  try:
    import pandas as pd
    from causalml.metrics import auuc_score
  except ImportError:
    return {}
  frame = pd.DataFrame(
    {"m": outcomes.revenue[:, 1], "y": samples.revenue, "w": samples.arm}
  )
  return {"causalml AUUC": lambda: float(auuc_score(frame)["m"])}


def main() -> None:
  """Runs the rounds and prints the table."""
  outcomes, samples = trial(_ROWS.value)
  columns = (samples.arm, samples.revenue, samples.cost)
  ones = np.ones(_ROWS.value)

  def numpy_once():
    order = plain_order(outcomes)
    return plain_area(*(x[order] for x in columns), ones)

  def numpy_bootstrap():
    rng = np.random.default_rng(0)
    order = plain_order(outcomes)
    ready = [x[order] for x in columns]
    areas = [
      plain_area(*ready, rng.poisson(1.0, _ROWS.value))
      for _ in range(_REPLICATES.value)
    ]
    return np.std(areas, ddof=1)

  def own_bootstrap():
    metric = aucc_by_weight(outcomes, samples)
    return bootstrap(
      lambda weight: metric(weight).area,
      samples,
      jax.random.key(0),
      replicates=_REPLICATES.value,
    ).se

  single = {
    "AUCC": lambda: aucc(outcomes, samples),
    "AUCC, plain NumPy": numpy_once,
    **rivals(outcomes, samples),
  }
  many = {
    "bootstrap": own_bootstrap,
    "bootstrap, plain NumPy": numpy_bootstrap,
  }
  lines = []
  for runs, repeats in ((single, REPEATS.value), (many, _BOOTSTRAPS.value)):
    runs, values = keeping(runs)
    seconds, _ = rounds(runs, repeats)
    (base,) = (s for name, s in seconds.items() if name.endswith("NumPy"))
    for name, own in seconds.items():
      lines.append(
        {
          "what": name,
          "value": float(values[name]),
          "seconds": statistics.median(own.wall),
          "CPU seconds": statistics.median(own.cpu),
          "x plain NumPy": median_ratio(own.wall, base.wall),
          "by CPU": median_ratio(own.cpu, base.cpu),
        }
      )
  publish(
    f"{_ROWS.value} rows, {REPEATS.value} rounds of AUCC and "
    f"{_BOOTSTRAPS.value} of {_REPLICATES.value} replicates.",
    lines,
  )


if __name__ == "__main__":
  guard.run(main)
