"""Cost curves: revenue for every budget (the paper's Figure 3).

Cost curves of good methods lie close together, so a second panel shows what
can be read: the paired difference to a reference method at the same cost.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import stdtrit

from bidfcl_jax.report.drawing import DPI, INK, clean, line_styles, save
from bidfcl_jax.report.names import display_name
from bidfcl_jax.types import Curve

_POINTS = 401

Curves = Curve | Sequence[Curve]


def _per_seed(name: str, curves: Curves) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns (cost, revenue) of each seed, checked."""
  curves = [curves] if isinstance(curves, Curve) else list(curves)
  if not curves:
    raise ValueError(f"no cost curve of {name}")
  pairs = []
  for seed, curve in enumerate(curves):
    cost = np.asarray(curve.cost, np.float64)
    revenue = np.asarray(curve.revenue, np.float64)
    if cost.ndim != 1 or cost.shape != revenue.shape or not len(cost):
      raise ValueError(
        f"cost curve {seed} of {name} has shapes {cost.shape} and "
        f"{revenue.shape}; give one Curve a seed, [k] each"
      )
    if not np.all(np.diff(cost) >= 0):
      raise ValueError(f"cost curve {seed} of {name}: cost must not decrease")
    pairs.append((cost, revenue))
  return pairs


def _on_grid(
  pairs: list[tuple[np.ndarray, np.ndarray]], grid: np.ndarray
) -> np.ndarray:
  """Returns revenue `[seeds, grid]`, NaN outside a curve's own range."""
  return np.stack(
    [np.interp(grid, c, r, left=np.nan, right=np.nan) for c, r in pairs]
  )


def _band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean and half its 95 % interval (0 for one seed)."""
  if len(values) == 1:
    return values[0], np.zeros_like(values[0])
  error = np.std(values, axis=0, ddof=1) / math.sqrt(len(values))
  return np.mean(values, axis=0), stdtrit(len(values) - 1, 0.975) * error


def cost_curves(
  curves: Mapping[str, Curves],
  path: str | Path,
  *,
  budget: float,
  reference: str = "TSM-SL-RCT",
  ours: Sequence[str] = ("Bi-DFCL-PPL", "Bi-DFCL-PIFD"),
  oracle: Curves | None = None,
  constant: Mapping[str, tuple[float, float]] | None = None,
  title: str = "Revenue for a budget",
  unit: str = "",
) -> Path:
  """Draws revenue against spend for each method, and what divides them.

  Upper panel: mean over seeds. Lower panel: mean and 95 % interval of the mean
  (Student's t) of the difference to the reference on the same seed at the same
  cost, in percent of the reference. The legend is sorted by the revenue at
  the budget.

  Args:
    curves: method -> its Curve, or one Curve a seed in the same order of seeds
      for every method; per capita, original units, cost increasing.
    path: the PNG (150 dots per inch), written atomically.
    budget: per capita; drawn as a vertical line.
    reference: method of the lower panel; where it is absent there is only the
      upper one.
    ours: methods to stress.
    oracle: Curve of the best possible policy, or None.
    constant: name -> (cost, revenue) of "one arm for everybody".
    title: the figure's title.
    unit: of money, such as "EUR", for the axis labels.

  Returns:
    The path.

  Raises:
    ValueError: no curve, a curve whose cost decreases, curves without any
      length, or seeds that differ in number between methods.
  """
  pairs = {name: _per_seed(name, value) for name, value in curves.items()}
  counts = {name: len(value) for name, value in pairs.items()}
  if len(set(counts.values())) != 1:
    raise ValueError(
      f"give every method the same seeds, one or more; their numbers: {counts}"
    )
  best = [] if oracle is None else _per_seed("the oracle", oracle)
  ends = [cost for value in pairs.values() for cost, _ in value]
  low = min(budget, *(cost[0] for cost in ends))
  high = max(budget, *(cost[-1] for cost in ends))
  if low == high:
    raise ValueError(f"every cost curve is the single point of cost {low:g}")
  # The budget is a point of the grid, so that the legend's values are exact.
  grid = np.union1d(np.linspace(low, high, _POINTS), [budget])
  at_budget = int(np.searchsorted(grid, budget))
  revenue = {name: _on_grid(value, grid) for name, value in pairs.items()}
  means = {name: _band(value)[0] for name, value in revenue.items()}
  styles = line_styles(curves, reference, ours)
  paired = reference in revenue and len(revenue) > 1

  figure = Figure(
    figsize=(9, 7.2 if paired else 4.6), dpi=DPI, layout="constrained"
  )
  panels = figure.subplots(2 if paired else 1, 1, sharex=True, squeeze=False)[
    :, 0
  ]
  upper = panels[0]
  handles = {}
  if best:
    oracle_mean = _band(_on_grid(best, grid))[0]
    (handles["ORACLE"],) = upper.plot(
      grid, oracle_mean, color="black", linestyle=(0, (4, 2)), linewidth=1.4
    )
    means["ORACLE"] = oracle_mean
  for name in revenue:
    (handles[name],) = upper.plot(grid, means[name], **styles[name])
  for name, (cost, value) in (constant or {}).items():
    upper.plot(cost, value, "o", color=INK, markersize=4, zorder=4)
    upper.annotate(
      name, (cost, value), (6, -4), textcoords="offset points", fontsize=8,
      color=INK, va="top",
    )  # fmt: skip
  for panel in panels:
    clean(panel)
    panel.axvline(budget, color=INK, linewidth=1, linestyle=":", zorder=2)
    panel.set_xlim(low, high)
  upper.annotate(
    f"budget {budget:g}", (budget, 0.02), (5, 0),
    xycoords=("data", "axes fraction"), textcoords="offset points",
    fontsize=9, color=INK,
  )  # fmt: skip
  money = f" ({unit})" if unit else ""
  upper.set_ylabel(f"Revenue per person{money}", color=INK)
  panels[-1].set_xlabel(f"Spend per person{money}", color=INK)
  seeds = next(iter(counts.values()))
  figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
  _legend(upper, handles, means, at_budget, budget, reference)
  if paired:
    _differences(panels[1], grid, revenue, reference, styles, seeds, ours)
  return save(figure, path)


def _legend(
  axes: Axes,
  handles: Mapping[str, Any],
  means: Mapping[str, np.ndarray],
  at_budget: int,
  budget: float,
  reference: str,
) -> None:
  """Lists the methods by their value at the budget, best first."""
  values = {name: float(means[name][at_budget]) for name in handles}
  base = values.get(reference, math.nan)

  def place(name: str) -> float:
    return values[name] if math.isfinite(values[name]) else -math.inf

  order = sorted(handles, key=place, reverse=True)
  size = np.nanmax(np.abs([*values.values(), 1e-9]))
  digits = max(0, 3 - math.floor(math.log10(size)))
  labels = []
  for name in order:
    label = display_name(name)
    if math.isfinite(values[name]):
      label += f"  {values[name]:.{digits}f}"
      if name != reference and math.isfinite(base) and base != 0:
        label += f" ({100 * (values[name] / base - 1):+.1f} %)"
    labels.append(label)
  axes.legend(
    [handles[name] for name in order],
    labels,
    title=f"Revenue at budget {budget:g}",
    loc="upper left",
    bbox_to_anchor=(1.01, 1.0),
    frameon=False,
    fontsize=9,
    title_fontsize=9,
    alignment="left",
    labelcolor=INK,
  )


def _differences(
  axes: Axes,
  grid: np.ndarray,
  revenue: Mapping[str, np.ndarray],
  reference: str,
  styles: Mapping[str, dict[str, Any]],
  seeds: int,
  ours: Sequence[str],
) -> None:
  """Draws the paired difference to the reference, in percent of it."""
  base = revenue[reference]
  # A reference that earns nothing has no percent of it.
  scale = np.where(base > 0, base, np.nan)
  axes.axhline(0, **styles[reference])
  ends = {reference: 0.0}
  for name, values in revenue.items():
    if name == reference:
      continue
    mean, half = _band(100 * (values - base) / scale)
    alpha = 0.18 if name in ours else 0.07
    axes.plot(grid, mean, **styles[name])
    axes.fill_between(
      grid, mean - half, mean + half, alpha=alpha, linewidth=0,
      color=styles[name]["color"], zorder=1,
    )  # fmt: skip
    seen = mean[np.isfinite(mean)]
    if len(seen):
      ends[name] = float(seen[-1])
  _end_labels(axes, ends, styles)
  axes.set_ylabel(
    f"Difference to {display_name(reference)}\nat the same spend (%)",
    color=INK,
  )
  note = (
    f"mean of {seeds} seeds; band: 95 % interval of the mean, paired by seed"
  )
  axes.set_title(
    note if seeds > 1 else "one seed: no band",
    fontsize=9, color=INK, loc="left",
  )  # fmt: skip


def _end_labels(
  axes: Axes, ends: Mapping[str, float], styles: Mapping[str, dict[str, Any]]
) -> None:
  """Names the lines at their right end, moved apart where they would touch."""
  low, high = axes.get_ylim()
  axes.set_ylim(low, high)
  gap, top = 0.06, 1.0
  order = sorted(ends, key=lambda name: ends[name])
  places = [(ends[name] - low) / (high - low) for name in order]
  for i in range(1, len(places)):
    places[i] = max(places[i], places[i - 1] + gap)
  for i in reversed(range(len(places))):
    places[i] = min(places[i], top)
    top = places[i] - gap
  for name, place in zip(order, places, strict=True):
    axes.annotate(
      display_name(name), (1.01, place), xycoords="axes fraction",
      va="center", fontsize=9, color=styles[name]["color"],
      weight="bold" if styles[name]["linewidth"] > 2 else "normal",
    )  # fmt: skip
