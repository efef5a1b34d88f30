"""The table of a study: paired differences to one variant, with intervals."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from bidfcl_jax.evaluation import holm, paired
from bidfcl_jax.report import Result

MAIN = "oracle_eom@1"


def _values(results: Sequence[Result], label: str, metric: str):
  return {
    r.seed: r.metric(metric)
    for r in results
    if r.method == label and metric in r.metrics
  }


def _difference(ours: dict, base: dict):
  """Returns (mean, half width, p, wins, n), in percent of the base."""
  seeds = sorted(set(ours) & set(base))
  gain = np.array([100 * (ours[s] / base[s] - 1) for s in seeds])
  test = paired(gain, np.zeros_like(gain))
  half = test.se * float(stdtrit(max(test.n - 1, 1), 0.975))
  return test.difference, half, test.p, test.wins, test.n


def _mean(results, label: str, metric: str) -> float:
  values = _values(results, label, metric).values()
  values = [v for v in values if math.isfinite(v)]
  return float(np.mean(values)) if values else math.nan


def _seconds(results, label: str) -> float:
  times = [r.seconds for r in results if r.method == label and r.seconds]
  return float(np.mean(times)) if times else math.nan


def _cell(value: float, form: str) -> str:
  return format(value, form) if math.isfinite(value) else "–"


def markdown(
  results: Sequence[Result], labels: Sequence[str], about: str
) -> str:
  """Returns the table as Markdown.

  Args:
    results: one a variant and world.
    labels: rows in order; the first is compared with.
    about: for the caption.

  Returns:
    Text: a caption and one row a variant: true revenue at exact budget minus
    the first row's, paired over worlds, in percent, with a 95 % interval; wins;
    p of the paired t test, alone and by Holm; the same at half and at one and a
    half budgets; mean seconds after the teacher, compilation included; CG
    residual, share of negative curvature and sd of the gates in the last epoch.
  """
  base = labels[0]
  rows, tested = [], []
  for label in [*labels, "oracle policy"]:
    own = _values(results, label, MAIN)
    if not own:
      continue
    main = _difference(own, _values(results, base, MAIN))
    sides = [
      _difference(
        _values(results, label, f"oracle_eom@{share}"),
        _values(results, base, f"oracle_eom@{share}"),
      )[0]
      for share in ("0.5", "1.5")
    ]
    rows.append((label, main, sides))
    if label not in (base, "oracle policy") and math.isfinite(main[2]):
      tested.append(label)
  by_label = {label: main for label, main, _ in rows}
  adjusted = {}
  if tested:
    ps = holm([by_label[label][2] for label in tested])
    adjusted = dict(zip(tested, ps, strict=True))
  worlds = len({r.seed for r in results})
  lines = [
    f"{about}; {worlds} worlds. True revenue at exact budget minus that of "
    f"`{base}`, %, paired, with 95 % interval; p: paired t test, alone and by "
    "Holm over the rows. Seconds: mean of a fit after its teacher, compilation "
    "included.",
    "",
    "| variant | minus first, % | wins | p | p (Holm) | at b/2 | at 1.5 b | "
    "s | CG residual | neg. curv. | gates sd |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
  ]
  for label, (mean, half, p, wins, n), sides in rows:
    first = label == base
    shown = (
      f"{mean:+.2f} ± {half:.2f}" if math.isfinite(half) else f"{mean:+.2f}"
    )
    cells = [
      label,
      "0" if first else shown,
      "–" if first else f"{wins}/{n}",
      "–" if label not in tested else _cell(p, ".3f"),
      _cell(float(adjusted.get(label, math.nan)), ".3f"),
      *("0" if first else _cell(side, "+.2f") for side in sides),
      _cell(_seconds(results, label), ".1f"),
      _cell(_mean(results, label, "cg_residual"), ".2g"),
      _cell(_mean(results, label, "negative_curvature"), ".0%"),
      _cell(_mean(results, label, "gate_revenue_sd"), ".2f"),
    ]
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"
