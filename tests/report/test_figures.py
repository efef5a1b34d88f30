import struct
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.report import drawing, figures
from bidfcl_jax.types import Curve


def _curve(gain, world=0, end=3.0):
  rng = np.random.default_rng(world)
  cost = np.sort(np.append(rng.uniform(0, end, 60), [0, end]))
  revenue = 15 + world / 10 + gain * 3 * (1 - np.exp(-cost))
  return Curve(cost, revenue, cost[::-1])


def _curves(seeds=3):
  gains = {"TSM-SL-RCT": 1.0, "FT": 1.05, "Bi-DFCL-PPL": 1.1}
  return {
    name: [_curve(gain, world) for world in range(seeds)]
    for name, gain in gains.items()
  }


def _size(path):
  content = path.read_bytes()
  assert content.startswith(b"\x89PNG\r\n\x1a\n")
  return struct.unpack(">II", content[16:24])


def _drawn(monkeypatch, *arguments, **options):
  """Returns the figure instead of writing it."""
  kept = []
  monkeypatch.setattr(figures, "save", lambda figure, path: kept.append(figure))
  figures.cost_curves(*arguments, **options)
  return kept[0]


def test_file_is_a_png_of_one_size_and_deterministic(tmp_path):
  options = {
    "budget": 1.5,
    "oracle": [_curve(1.3, world) for world in range(3)],
    "constant": {"10 %": (1.0, 16.0)},
    "unit": "EUR",
  }
  first = figures.cost_curves(_curves(), tmp_path / "a b" / "ü.png", **options)
  second = figures.cost_curves(_curves(), tmp_path / "x.png", **options)
  assert _size(first) == (1350, 1080)
  assert first.read_bytes() == second.read_bytes()
  assert [path.name for path in first.parent.iterdir()] == ["ü.png"]


def test_legend_is_sorted_by_the_value_at_the_budget(monkeypatch):
  oracle = [_curve(1.3, world) for world in range(3)]
  figure = _drawn(monkeypatch, _curves(), "", budget=1.5, oracle=oracle)
  upper, lower = figure.axes
  labels = [text.get_text() for text in upper.get_legend().get_texts()]
  assert [label.split("  ")[0] for label in labels] == [
    "Oracle",
    "Bi-DFCL-PPL",
    "Fine-tuning",
    "TSM-SL (RCT)",
  ]
  # 15 + 0.1 on average over the worlds + 3 (1 - exp(-1.5))
  assert labels[-1] == "TSM-SL (RCT)  17.43"
  assert labels[1] == "Bi-DFCL-PPL  17.66 (+1.3 %)"
  assert upper.lines[0].get_color() == "black"
  budgets = [list(line.get_xdata()) for line in lower.lines]
  assert [1.5, 1.5] in budgets


def test_difference_is_paired_by_seed_and_in_percent(monkeypatch):
  curves = _curves()
  figure = _drawn(monkeypatch, curves, "", budget=1.5)
  lower = figure.axes[1]
  line = next(x for x in lower.lines if x.get_linewidth() > 2)
  grid = line.get_xdata()
  at = int(np.searchsorted(grid, 1.5))
  assert grid[at] == 1.5
  gaps = [
    100
    * (np.interp(1.5, b.cost, b.revenue) / np.interp(1.5, a.cost, a.revenue))
    - 100
    for a, b in zip(curves["TSM-SL-RCT"], curves["Bi-DFCL-PPL"], strict=True)
  ]
  assert line.get_ydata()[at] == pytest.approx(np.mean(gaps))
  # Student's t with 2 degrees of freedom: 4.303.
  half = 4.302653 * np.std(gaps, ddof=1) / np.sqrt(3)
  band = lower.collections[1].get_paths()[0].vertices
  top = band[np.isclose(band[:, 0], 1.5), 1].max()
  assert top == pytest.approx(np.mean(gaps) + half, rel=1e-6)


def test_curve_is_not_drawn_beyond_its_own_costs(monkeypatch):
  curves = {
    "TSM-SL-RCT": _curve(1.0, end=3.0),
    "FT": [Curve(jnp.array([0.0, 2.0]), jnp.array([15.0, 17.0]), jnp.ones(2))],
  }
  figure = _drawn(monkeypatch, curves, "", budget=2.5)
  (short,) = (
    line for line in figure.axes[0].lines if np.isnan(line.get_ydata()).any()
  )
  drawn = short.get_xdata()[np.isfinite(short.get_ydata())]
  assert drawn.max() <= 2.0
  labels = [x.get_text() for x in figure.axes[0].get_legend().get_texts()]
  assert labels[-1] == "Fine-tuning"
  assert figure.axes[1].get_title(loc="left") == "one seed: no band"


def test_end_labels_do_not_touch(monkeypatch):
  curves = {f"m{i}": _curve(1 + 1e-6 * i) for i in range(9)}
  figure = _drawn(monkeypatch, curves, "", budget=1.0, reference="m0", ours=())
  places = sorted(text.xy[1] for text in figure.axes[1].texts)
  assert len(places) == 9 and np.diff(places).min() > 0.059
  assert places[-1] <= 1


def test_without_the_reference_there_is_one_panel(tmp_path):
  path = figures.cost_curves(
    {"FT": _curve(1.0)}, tmp_path / "x.png", budget=9.0
  )
  assert _size(path) == (1350, 690)


def test_refusals_name_the_culprit(tmp_path):
  path = tmp_path / "x.png"
  down = Curve(np.array([1.0, 0.0]), np.ones(2), np.ones(2))
  with pytest.raises(ValueError, match="curve 1 of FT: cost must not decrease"):
    figures.cost_curves({"FT": [_curve(1), down]}, path, budget=1.0)
  uneven = {"FT": [_curve(1)], "AVG": [_curve(1), _curve(1)]}
  with pytest.raises(ValueError, match="'FT': 1, 'AVG': 2"):
    figures.cost_curves(uneven, path, budget=1.0)
  with pytest.raises(ValueError, match="no cost curve of FT"):
    figures.cost_curves({"FT": []}, path, budget=1.0)
  stacked = Curve(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)))
  with pytest.raises(ValueError, match="give one Curve a seed"):
    figures.cost_curves({"FT": stacked}, path, budget=1.0)
  point = Curve(np.ones(1), np.ones(1), np.ones(1))
  with pytest.raises(ValueError, match="single point"):
    figures.cost_curves({"FT": point}, path, budget=1.0)
  assert not path.exists()


def test_methods_get_styles_of_their_own():
  names = [f"m{i}" for i in range(15)]
  styles = drawing.line_styles(["R", *names, "U"], "R", ["U"])
  looks = {(s["color"], s.get("linestyle")) for s in styles.values()}
  assert len(looks) == 17
  assert styles["U"]["linewidth"] > styles["m0"]["linewidth"]


def test_pyplot_is_not_touched():
  code = (
    "import sys, bidfcl_jax.report\n"
    "assert 'matplotlib.pyplot' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
