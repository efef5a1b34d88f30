"""How every figure of the package looks: palette, line styles, frame, file.

Figures are objects of their own, without pyplot: no global state is touched.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bidfcl_jax.files import write_atomic

# Okabe and Ito's palette, which colour-blind readers can tell apart, less its
# yellow (too pale for a line) and its black (kept for the oracle). Vermilion
# is for our method.
_OURS = "#D55E00"
_REFERENCE = "#5F5F5F"
_OTHERS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
INK = "#333333"
DPI = 150


def line_styles(
  names: Iterable[str], reference: str | None, ours: Sequence[str]
) -> dict[str, dict[str, Any]]:
  """Returns line styles: colour by place in the list, dashes for repeats."""
  styles, others, own = {}, 0, 0
  for name in names:
    style: dict[str, Any] = {"linewidth": 1.5, "zorder": 3}
    if name in ours:
      style |= {"color": _OURS, "linewidth": 2.6, "zorder": 5}
      style["linestyle"] = _DASHES[own % len(_DASHES)]
      own += 1
    elif name == reference:
      style |= {"color": _REFERENCE, "linestyle": "-"}
    else:
      style["color"] = _OTHERS[others % len(_OTHERS)]
      style["linestyle"] = _DASHES[others // len(_OTHERS) % len(_DASHES)]
      others += 1
    styles[name] = style
  return styles


def clean(axes: Axes) -> None:
  """Takes away what carries no information."""
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["left", "bottom"]].set_color("#999999")
  axes.tick_params(colors=INK, labelsize=9)
  axes.grid(True, color="#E6E6E6", linewidth=0.7)
  axes.set_axisbelow(True)


def save(figure: Figure, path: str | Path) -> Path:
  """Writes the figure as PNG, atomically; equal figures give equal bytes."""
  image = io.BytesIO()
  FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
  return write_atomic(path, image.getvalue())
