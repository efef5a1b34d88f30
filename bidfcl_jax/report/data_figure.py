"""The data report's picture: arms, balance, overlap and power on one page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from bidfcl_jax.data.balance import Balance
from bidfcl_jax.data.checks import ArmCounts
from bidfcl_jax.data.overlap import Overlap
from bidfcl_jax.evaluation.power import Noise, detectable
from bidfcl_jax.report.drawing import DPI, INK, clean, line_styles, save

_PART_LABELS = {
  "obs": "OBS",
  "rct_train": "RCT train",
  "rct_valid": "RCT valid",
  "rct_test": "RCT test",
}
_PART_MARKS = ("o", "s", "D", "^")
_LONGEST = 18
_BARS = 8


def _short(name: str) -> str:
  return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _shares(axes: Axes, counts: ArmCounts, arm_names: Sequence[str]) -> None:
  places = np.arange(len(arm_names))
  styles = line_styles(counts.parts, None, ("obs",))
  for k, part in enumerate(counts.parts):
    # Parts of one arm lie above each other, so that equal shares are all seen.
    axes.plot(
      counts.shares[k], places + 0.16 * (k - (len(counts.parts) - 1) / 2),
      _PART_MARKS[k], color=styles[part]["color"], markersize=5,
      label=f"{_PART_LABELS[part]} ({counts.counts[k].sum():,})",
    )  # fmt: skip
  axes.set_yticks(places, [_short(name) for name in arm_names])
  axes.set_ylim(len(arm_names) - 0.5, -0.5)
  axes.set_xlim(0, 1.08 * counts.shares.max())
  axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
  axes.set_xlabel("Share of the part's rows", color=INK)
  axes.set_title("Arms by part", fontsize=10, loc="left", color=INK)


def _differences(
  axes: Axes, balance: Balance, arm_names, feature_names
) -> None:
  found = balance.largest(_BARS)
  places = np.arange(len(found))
  axes.barh(
    places, [gap for *_, gap in found], height=0.6, color="#0072B2", zorder=3
  )
  axes.set_yticks(
    places,
    [
      f"{_short(feature_names[k])}: {_short(arm_names[j])}" for j, k, _ in found
    ],
  )
  axes.set_ylim(len(found) - 0.5, -0.5)
  reach = max(0.12, 1.1 * max((abs(gap) for *_, gap in found), default=0.0))
  axes.set_xlim(-reach, reach)
  axes.axvline(0, color=INK, linewidth=0.8)
  for edge in (-0.1, 0.1):
    axes.axvline(edge, color=INK, linewidth=1, linestyle=":")
  axes.set_xlabel("Arm minus control (sd; dotted: 0.1)", color=INK)
  axes.set_title(
    f"Balance of the RCT (p = {balance.p:.2g})",
    fontsize=10, loc="left", color=INK,
  )  # fmt: skip


def _propensities(axes: Axes, overlap: Overlap, arm_names) -> None:
  styles = line_styles(arm_names, arm_names[0], ())
  low = max(float(overlap.smallest.min()), 1e-4)
  edges = np.geomspace(min(low, 0.01), 1, 41)
  clipped = np.clip(overlap.propensity, edges[0], 1)
  for j, name in enumerate(arm_names):
    count, _ = np.histogram(clipped[:, j], edges)
    axes.stairs(
      count / len(clipped), edges, label=_short(name),
      color=styles[name]["color"], linestyle=styles[name]["linestyle"],
      linewidth=1.5,
    )  # fmt: skip
  axes.set_xscale("log")
  axes.set_xlim(edges[0], 1)
  axes.set_ylim(0, None)
  for edge in (0.01, 0.05):
    axes.axvline(edge, color=INK, linewidth=1, linestyle=":")
  axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
  axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
  axes.set_xlabel("Estimated propensity in OBS (dotted: 0.01, 0.05)", color=INK)
  axes.set_ylabel("Share of OBS rows", color=INK)
  axes.set_title("Overlap of the logs", fontsize=10, loc="left", color=INK)


def _power(axes: Axes, noise: Noise, rows: dict[str, int], disagree) -> None:
  low, high = min(rows.values()), max(rows.values())
  grid = np.geomspace(max(low / 3, 1), high * 1000, 60)
  levels = sorted({0.1, disagree, 1.0}, reverse=True)
  styles = line_styles([str(q) for q in levels], None, (str(disagree),))
  for q in levels:
    sd = 100 * noise.sd_difference * np.sqrt(q) / noise.value
    axes.plot(
      grid, [detectable(sd, n) for n in grid], label=f"{q:.0%} of individuals",
      **styles[str(q)],
    )  # fmt: skip
    if q == disagree:
      for (part, n), mark in zip(rows.items(), "Do", strict=False):
        axes.plot(
          n, detectable(sd, n), mark, color=INK, zorder=6, markersize=6,
          label=f"{_PART_LABELS[part]}, {n:,} rows: {detectable(sd, n):.2g} %",
          linestyle="none",
        )  # fmt: skip
  axes.axhline(1, color=INK, linewidth=1, linestyle=":")
  axes.annotate(
    "1 %", (0, 1), (4, 3), xycoords=("axes fraction", "data"),
    textcoords="offset points", fontsize=8, color=INK,
  )  # fmt: skip
  axes.set_xscale("log")
  axes.set_yscale("log")
  axes.set_xlim(grid[0], grid[-1])
  axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
  axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
  axes.yaxis.set_minor_formatter("")
  axes.set_xlabel("Randomised rows that value the policies", color=INK)
  axes.set_ylabel("Detectable difference (% of EOM)", color=INK)
  axes.set_title(
    "Difference found with 80 % power",
    fontsize=10, loc="left", color=INK,
  )  # fmt: skip


def _thousands(value: float, _) -> str:
  for unit, word in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
    if value >= unit:
      return f"{value / unit:g}{word}"
  return f"{value:g}"


def data_figure(
  path: str | Path,
  *,
  counts: ArmCounts,
  balance: Balance,
  overlap: Overlap,
  noise: Noise,
  rows: dict[str, int],
  disagree: float,
  arm_names: Sequence[str],
  feature_names: Sequence[str],
  title: str,
) -> Path:
  """Draws the four panels of the data report.

  Args:
    path: the PNG, written atomically.
    counts: of the arms by part.
    balance: of the RCT.
    overlap: of OBS.
    noise: of EOM; the last panel stays empty where its value or its
      difference is 0.
    rows: randomised part -> its rows.
    disagree: share of individuals on which two policies differ; the stressed
      line.
    arm_names: M names.
    feature_names: d names.
    title: of the page.

  Returns:
    The path.
  """
  figure = Figure(figsize=(12, 8.2), dpi=DPI, layout="constrained")
  (first, second), (third, fourth) = figure.subplots(2, 2)
  for axes in (first, second, third, fourth):
    clean(axes)
  _shares(first, counts, arm_names)
  _differences(second, balance, arm_names, feature_names)
  _propensities(third, overlap, arm_names)
  if noise.value > 0 and noise.sd_difference > 0:
    _power(fourth, noise, rows, disagree)
  outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
  for axes, heading, place in (
    (first, "Part (rows)", outside),
    (third, "Arm", outside),
    # Lines that fall leave this corner free.
    (fourth, "Policies disagree on", {"loc": "upper right"}),
  ):
    if axes.get_legend_handles_labels()[0]:
      axes.legend(
        title=heading, frameon=False, fontsize=8, title_fontsize=8,
        alignment="left", labelcolor=INK, **place,
      )  # fmt: skip
  figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
  return save(figure, path)
