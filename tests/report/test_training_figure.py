import numpy as np
import pytest

from bidfcl_jax.report import training_figure


def test_draws_the_mean_over_seeds(tmp_path, monkeypatch):
  records = [
    {"method": "FT", "epoch": epoch, "seed": seed, "valid_mse": epoch + seed}
    for seed in range(3)
    for epoch in (1, 0)
  ]
  records += [{"kind": "result", "method": "FT"}, {"valid_mse": 1.0}]
  path = training_figure.training_curves(records, tmp_path / "x.png")
  assert path.read_bytes().startswith(b"\x89PNG")
  kept = []
  monkeypatch.setattr(
    training_figure, "save", lambda figure, path: kept.append(figure)
  )
  training_figure.training_curves(records, path)
  (line,) = kept[0].axes[0].lines
  np.testing.assert_allclose(line.get_xydata(), [[0, 1], [1, 2]])


def test_nothing_to_draw_is_refused(tmp_path):
  with pytest.raises(ValueError, match="'valid_eom' to draw"):
    training_figure.training_curves(
      [{"method": "FT", "epoch": 0}], tmp_path / "x.png", metric="valid_eom"
    )
