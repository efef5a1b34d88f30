"""The picture of one trained model on an experiment: revenue against spend."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bidfcl_jax.report.drawing import DPI, INK, clean, line_styles, save
from bidfcl_jax.report.names import display_name
from bidfcl_jax.types import Array, Curve


class Band(NamedTuple):
  """Values `[k]` at budgets `[k]` with their interval."""

  budget: Array
  value: Array
  low: Array
  high: Array


def evaluation_curves(
  curves: Mapping[str, Curve],
  band: Band,
  mix: Curve,
  arms: Mapping[str, tuple[float, float]],
  path: str | Path,
  *,
  method: str,
  title: str,
) -> Path:
  """Draws the model's cost curve with its band beside what it has to beat.

  Args:
    curves: method -> Curve, per capita, original units; the model and rivals.
    band: of the model, at its budgets.
    mix: best mix of single arms, the same for everybody.
    arms: arm -> (cost, revenue) where everybody gets it.
    path: the PNG, written atomically.
    method: which of the curves is the model.
    title: the figure's title.

  Returns:
    The path.
  """
  figure = Figure(figsize=(9, 5), dpi=DPI, layout="constrained")
  axes = figure.subplots()
  clean(axes)
  styles = line_styles(curves, None, (method,))
  colour = styles[method]["color"]
  axes.fill_between(
    band.budget, band.low, band.high, color=colour, alpha=0.15, linewidth=0
  )
  for name, curve in curves.items():
    label = display_name(name)
    axes.plot(curve.cost, curve.revenue, label=label, **styles[name])
  axes.plot(
    band.budget, band.value, "o", color=colour, markersize=5, zorder=6,
    label="at the budgets of the table",
  )  # fmt: skip
  axes.plot(
    mix.cost, mix.revenue, color="black", linestyle=(0, (4, 2)), linewidth=1.2,
    label="Best mix of single arms (squares)",
  )  # fmt: skip
  for name, (cost, revenue) in arms.items():
    axes.plot(cost, revenue, "s", color=INK, markersize=4, zorder=4)
    axes.annotate(
      name, (cost, revenue), (7, -7), textcoords="offset points", va="top",
      fontsize=8, color=INK, zorder=7,
      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip
  ends = [band.budget, *(cost for cost, _ in arms.values())]
  ends = np.concatenate([np.ravel(end) for end in ends])
  room = 0.04 * np.ptp(ends)
  axes.set_xlim(ends.min() - room, ends.max() + 3 * room)
  axes.margins(y=0.08)
  axes.set_xlabel("Spend per person, measured on randomised rows", color=INK)
  axes.set_ylabel("Revenue per person", color=INK)
  figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold")
  axes.legend(
    loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9,
    labelcolor=INK, title="band: 95 % bootstrap interval", title_fontsize=9,
    alignment="left",
  )  # fmt: skip
  return save(figure, path)
