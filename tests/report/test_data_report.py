import jax
import numpy as np
import pytest

from bidfcl_jax.report import data_figure as drawn
from bidfcl_jax.report.data_report import findings, measure, overall


@pytest.fixture(scope="module")
def measured(tiny_study):
  return measure(
    tiny_study,
    jax.random.key(0),
    budget=float(tiny_study.budget),
    shares=np.full(5, 0.2),
  )


def verdicts(measured):
  return {f.check: f for f in findings(measured)}


def test_a_sound_study_is_stopped_by_nothing(measured):
  found = verdicts(measured)
  assert overall(list(found.values())) == "LOOK"
  for check in ("sample ratio", "balance", "repeated rows", "households"):
    assert found[check].verdict == "OK", found[check]
  # A few dozen rows an arm, and 200 test rows: both are said.
  assert found["arms"].verdict == "LOOK"
  assert "true outcomes are known" in found["power"].text


def test_each_flaw_stops_with_its_name(measured, tiny_study):
  counts = measured.counts.counts.copy()
  counts[3, 1] = 0
  found = verdicts(
    measured._replace(counts=measured.counts._replace(counts=counts))
  )
  assert found["arms"].verdict == "STOP"
  assert "'5%' in rct_test" in found["arms"].text
  found = verdicts(
    measured._replace(ratio=measured.ratio._replace(p=1e-4), truth=False)
  )
  assert found["sample ratio"].verdict == "STOP"
  assert found["power"].verdict == "STOP"
  twin = measured.repeats[-1]._replace(part="rct_test", rows=9, pairs=9)
  found = verdicts(
    measured._replace(
      repeats=[twin], households={("obs", "rct_test"): 4}, shift=[("x", 0.4)]
    )
  )
  assert found["repeated rows"].verdict == "STOP"
  assert found["households"].verdict == "STOP"
  assert found["OBS against RCT"].verdict == "LOOK"
  assert verdicts(measured._replace(ratio=None))["sample ratio"].verdict == (
    "LOOK"
  )


def test_balance_needs_both_size_and_chance_to_stop(measured):
  gap = np.array(measured.balance.difference)
  for size, p, verdict in (
    (0.5, 0.5, "OK"), (0.01, 1e-9, "LOOK"), (0.5, 1e-9, "STOP"),
  ):  # fmt: skip
    balance = measured.balance._replace(difference=np.full_like(gap, size), p=p)
    found = verdicts(measured._replace(balance=balance))
    assert found["balance"].verdict == verdict


def test_no_revenue_gives_words_instead_of_nan(measured):
  noise = measured.noise._replace(value=0.0, sd=0.0, sd_difference=0.0)
  assert (
    "no percentage" in verdicts(measured._replace(noise=noise))["power"].text
  )


def test_picture_has_four_panels_with_units(measured, monkeypatch):
  kept = []
  monkeypatch.setattr(drawn, "save", lambda figure, path: kept.append(figure))
  shared = ("counts", "balance", "overlap", "noise", "rows", "disagree")
  shared += ("arm_names", "feature_names")
  drawn.data_figure(
    "", title="t", **{name: getattr(measured, name) for name in shared}
  )
  axes = kept[0].axes
  labels = [panel.get_xlabel() for panel in axes]
  assert len(axes) == 4 and all(labels)
  bars = [bar.get_width() for bar in axes[1].patches]
  np.testing.assert_allclose(bars, [g for *_, g in measured.balance.largest(8)])
  words = [t.get_text() for t in axes[3].get_legend().get_texts()]
  assert any(word.startswith("RCT test, 200 rows") for word in words)
