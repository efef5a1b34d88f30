"""The results table: methods by mean over seeds, relative and paired.

As the paper's Table 2, cells are mean +- standard deviation over seeds of the
outcome relative to TSM-SL trained on RCT. Beyond the paper every method is
compared, seed by seed, with the best of the simple rivals: a method that does
not beat those has not earned its cost (evaluation.md, Uncertainty).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bidfcl_jax.evaluation.significance import holm, paired
from bidfcl_jax.report.names import (
  SIMPLE_RIVALS,
  YARDSTICKS,
  display_name,
  table_order,
)
from bidfcl_jax.report.results import Result, latest

NOTHING = "–"
_LESS_IS_BETTER = frozenset({"regret"})
_METRIC_NAMES = {
  "eom": "EOM",
  "eom_letter": "EOM (Alg. 6)",
  "oracle_eom": "Oracle EOM",
  "aucc": "AUCC",
}


class Setting(NamedTuple):
  """What a reader must know of the run beside the numbers.

  Attributes:
    data: the data set, such as "S1, 100,000 OBS and 10,000 RCT rows".
    budget: per capita, original units.
    estimator: how a policy was valued: "ipw", "snipw", "dr" or "true outcomes".
    checkpoint: the checkpoint rule, the same for every method of the table.
  """

  data: str
  budget: float
  estimator: str
  checkpoint: str


class Table(NamedTuple):
  """A table ready for a writer (writers.py).

  Attributes:
    caption: one paragraph.
    header: column names.
    cells: rows of text, as long as header.
    data: one dict a row with the bare numbers, the same keys in every row;
      NaN where there is none.
  """

  caption: str
  header: tuple[str, ...]
  cells: tuple[tuple[str, ...], ...]
  data: tuple[dict[str, Any], ...]


def _by_method(
  results: Iterable[Result], metric: str
) -> dict[str, dict[int, float]]:
  """Returns method -> seed -> finite value; a method may have none."""
  values: dict[str, dict[int, float]] = {}
  for result in latest(results):
    seeds = values.setdefault(result.method, {})
    if math.isfinite(result.metric(metric)):
      seeds[result.seed] = result.metric(metric)
  return values


def _relative(
  values: dict[str, dict[int, float]], reference: str, relative: str
) -> dict[str, dict[int, float]]:
  """Divides by the reference, per seed or by its mean."""
  base = values.get(reference)
  if not base:
    raise ValueError(
      f"the reference method {reference!r} has no value of this metric; run "
      f"it, or name another of: {', '.join(values)}"
    )
  if relative == "mean":
    base = dict.fromkeys(
      {seed for seeds in values.values() for seed in seeds},
      math.fsum(base.values()) / len(base),
    )
  elif relative != "per_seed":
    raise ValueError(f"relative={relative!r} is not one of per_seed, mean")
  for seed, value in base.items():
    if value <= 0:
      raise ValueError(
        f"{reference} has the value {value:g} on seed {seed}: nothing can be "
        "shown relative to it; name another reference"
      )
  return {
    method: {s: v / base[s] for s, v in seeds.items() if s in base}
    for method, seeds in values.items()
  }


def _mean(values: Iterable[float]) -> float:
  values = list(values)
  return math.fsum(values) / len(values) if values else math.nan


def _deviation(values: Iterable[float]) -> float:
  values = list(values)
  return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _compare(
  ours: dict[int, float], rival: dict[int, float], sign: int
) -> dict[str, Any]:
  """Compares two methods on their common seeds; p needs two of them."""
  seeds = sorted(set(ours) & set(rival))
  a = np.asarray([ours[s] for s in seeds], np.float64)
  b = np.asarray([rival[s] for s in seeds], np.float64)
  return {
    "difference": float(np.mean(a - b)) if seeds else math.nan,
    "p": float(paired(sign * a, sign * b).p) if len(seeds) > 1 else math.nan,
    "wins": int(np.sum(sign * (a - b) > 0)),
    "pairs": len(seeds),
  }


def _seconds(results: Iterable[Result]) -> dict[str, float]:
  times: dict[str, list[float]] = {}
  for result in latest(results):
    if result.seconds is not None:
      times.setdefault(result.method, []).append(result.seconds)
  return {method: _mean(values) for method, values in times.items()}


def summary(
  results: Sequence[Result],
  setting: Setting,
  *,
  metric: str = "eom",
  reference: str = "TSM-SL-RCT",
  rivals: Sequence[str] | None = None,
  relative: str = "per_seed",
  timed_by: str = "TSM-SL-BOTH",
) -> Table:
  """Makes the results table.

  Args:
    results: one Result for a method and seed; the last of equals counts.
    setting: what the caption states.
    metric: a name in Result.metrics; more is better, but for "regret".
    reference: the method whose value is 1.
    rivals: simple rivals; the one with the best mean is what the others are
      compared with. None: those of names.SIMPLE_RIVALS that are present.
    relative: "per_seed" divides by the reference on the same seed (simulated
      data: a seed is a world), "mean" by its mean (real data).
    timed_by: the method whose training time is 1, where it is present.

  Returns:
    A Table. Differences are paired over common seeds and in percent of the
    reference; p values are two-sided t tests, adjusted by Holm over the
    methods that are neither rivals nor yardsticks. With one seed there is no
    spread and no p, and the cells say so.

  Raises:
    ValueError: the reference or a named rival has no value, or the
      reference's value is not positive.
  """
  values = _relative(_by_method(results, metric), reference, relative)
  sign = -1 if metric in _LESS_IS_BETTER else 1
  missing = [name for name in rivals or () if not values.get(name)]
  if missing:
    raise ValueError(
      f"no value of {metric!r} for the rival {', '.join(missing)}; the "
      f"methods here are: {', '.join(values)}"
    )
  present = SIMPLE_RIVALS if rivals is None else rivals
  present = [name for name in present if values.get(name)]
  best = max(
    present, key=lambda name: sign * _mean(values[name].values()), default=None
  )
  seconds = _seconds(results)
  rows = []
  for method in table_order(list(values)):
    own = values[method]
    row: dict[str, Any] = {
      "method": method,
      "seeds": len(own),
      "mean": _mean(own.values()),
      "sd": _deviation(own.values()),
    }
    against = {} if best in (None, method) else values[best]
    row |= _compare(own, against, sign)
    if method in present or method in YARDSTICKS:
      row["p"] = math.nan
    row["p_holm"] = math.nan
    row["seconds"] = seconds.get(method, math.nan)
    row["time_ratio"] = row["seconds"] / (seconds.get(timed_by) or math.nan)
    rows.append(row)
  tested = [row for row in rows if math.isfinite(row["p"])]
  if tested:
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
      row["p_holm"] = float(p)
  caption = _caption(rows, setting, metric, reference, best, relative)
  header, cells = _display(rows, metric, best, seconds.get(timed_by))
  return Table(caption, header, cells, tuple(rows))


def _p_text(p: float) -> str:
  if not math.isfinite(p):
    return NOTHING
  return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def _display(
  rows: list[dict[str, Any]],
  metric: str,
  best: str | None,
  time_unit: float | None,
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
  header = ["Method", f"{_METRIC_NAMES.get(metric, metric)}, relative"]
  if best is not None:
    header += [f"minus {display_name(best)}, %", "wins", "p", "p (Holm)"]
  header.append("time, relative" if time_unit else "time, s")
  cells = []
  for row in rows:
    line = [display_name(row["method"])]
    spread = f"{row['sd']:.4f}" if math.isfinite(row["sd"]) else NOTHING
    line.append(f"{row['mean']:.4f} ± {spread}" if row["seeds"] else NOTHING)
    if best is not None:
      line += [NOTHING, NOTHING]
      if row["pairs"]:
        line[2] = f"{100 * row['difference']:+.2f}"
        line[3] = f"{row['wins']}/{row['pairs']}"
      line += [_p_text(row["p"]), _p_text(row["p_holm"])]
    time = row["time_ratio" if time_unit else "seconds"]
    time_text = f"{time:.2f}x" if time_unit else f"{time:.1f}"
    line.append(time_text if math.isfinite(time) else NOTHING)
    cells.append(tuple(line))
  return tuple(header), tuple(cells)


def _caption(
  rows: list[dict[str, Any]],
  setting: Setting,
  metric: str,
  reference: str,
  best: str | None,
  relative: str,
) -> str:
  counts = {row["seeds"] for row in rows if row["seeds"]}
  low, high = min(counts), max(counts)
  count = f"{high}" if low == high else f"{low} to {high}"
  unit = "seed" if high == 1 else "seeds"
  how = "on the same seed" if relative == "per_seed" else "by its mean"
  where = " on RCT rows" if setting.checkpoint.startswith("valid") else ""
  words = [
    f"{setting.data}; budget {setting.budget:g} per capita; policy value by "
    f"{setting.estimator}; checkpoint rule {setting.checkpoint}{where}; "
    f"{count} {unit}.",
    f"{_METRIC_NAMES.get(metric, metric)} relative to "
    f"{display_name(reference)} ({how}), mean ± standard deviation over seeds.",
  ]
  if best is not None:
    words.append(
      f"Differences are paired over seeds, in percent of "
      f"{display_name(reference)}, against the best simple rival on these "
      f"seeds, {display_name(best)}; p: two-sided paired t test, alone and "
      "adjusted by Holm over the methods tested."
    )
  return " ".join(words)
