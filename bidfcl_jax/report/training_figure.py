"""Training curves: a validation metric by epoch."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bidfcl_jax.report.drawing import DPI, INK, clean, line_styles, save
from bidfcl_jax.report.names import display_name


def training_curves(
  records: Iterable[Mapping[str, Any]],
  path: str | Path,
  *,
  metric: str = "valid_mse",
  ours: Sequence[str] = ("Bi-DFCL-PPL", "Bi-DFCL-PIFD"),
  title: str = "Validation error by epoch",
) -> Path:
  """Draws a validation metric by epoch, the mean over seeds of each method.

  Args:
    records: dicts with method, epoch and the metric, one for each seed and
      epoch (lines of metrics.jsonl); those without the metric are passed over.
    path: the PNG, written atomically.
    metric: the key to draw.
    ours: methods to stress.
    title: the figure's title.

  Returns:
    The path.

  Raises:
    ValueError: no record has the metric.
  """
  values: dict[str, dict[int, list[float]]] = {}
  for record in records:
    if record.get(metric) is not None and {"method", "epoch"} <= set(record):
      epochs = values.setdefault(record["method"], {})
      epochs.setdefault(int(record["epoch"]), []).append(record[metric])
  if not values:
    raise ValueError(f"no record with method, epoch and {metric!r} to draw")
  figure = Figure(figsize=(9, 4.6), dpi=DPI, layout="constrained")
  axes = figure.subplots()
  clean(axes)
  styles = line_styles(values, None, ours)
  for name, epochs in values.items():
    order = sorted(epochs)
    means = [float(np.mean(epochs[epoch])) for epoch in order]
    axes.plot(order, means, label=display_name(name), **styles[name])
  axes.set_xlabel("Epoch", color=INK)
  axes.set_ylabel(metric, color=INK)
  axes.set_title(title, fontsize=13, weight="bold", loc="left")
  axes.legend(
    loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9
  )
  return save(figure, path)
