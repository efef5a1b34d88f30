import math

import numpy as np
import pytest
from scipy import stats

from bidfcl_jax.report.results import Result
from bidfcl_jax.report.tables import Setting, summary

SETTING = Setting("S1", 1.5, "ipw", "ema_last")
VALUES = {
  "TSM-SL-RCT": [10.0, 20.0, 40.0],
  "FT": [11.0, 21.0, 44.0],
  "TSM-SL-BOTH": [10.0, 21.0, 40.0],
  "Bi-DFCL-PPL": [11.5, 22.0, 46.0],
  "DFCL-PPL": [10.0, 22.0, 40.0],
  "ORACLE": [15.0, 30.0, 60.0],
}
SECONDS = {"TSM-SL-BOTH": 2.0, "Bi-DFCL-PPL": 9.0}


def _results(values=VALUES, metric="eom"):
  return [
    Result(method, seed, {metric: value}, SECONDS.get(method))
    for method, row in values.items()
    for seed, value in enumerate(row)
  ]


def _rows(table):
  return {row["method"]: row for row in table.data}


def test_per_seed_numbers_by_hand():
  rows = _rows(summary(_results(), SETTING))
  assert rows["TSM-SL-RCT"]["mean"] == 1 and rows["TSM-SL-RCT"]["sd"] == 0
  # 1.1, 1.05, 1.1
  assert rows["FT"]["mean"] == pytest.approx(3.25 / 3)
  assert rows["FT"]["sd"] == pytest.approx(0.05 / math.sqrt(3))
  # FT is the best simple rival; 1.15, 1.1, 1.15 against it is .05 each time.
  ours = rows["Bi-DFCL-PPL"]
  assert ours["difference"] == pytest.approx(0.05)
  assert (ours["wins"], ours["pairs"], ours["seeds"]) == (3, 3, 3)
  assert ours["time_ratio"] == 4.5
  assert math.isnan(rows["FT"]["time_ratio"])
  assert math.isnan(rows["FT"]["difference"]) and rows["FT"]["pairs"] == 0


def test_p_is_a_paired_t_and_holm_counts_only_methods_tested():
  values = VALUES | {"Bi-DFCL-PPL": [11.6, 21.4, 46.0]}
  table = summary(_results(values), SETTING)
  rows = _rows(table)
  scale = np.asarray(values["TSM-SL-RCT"])
  ft = np.asarray(values["FT"]) / scale
  p = {
    name: stats.ttest_rel(np.asarray(values[name]) / scale, ft).pvalue
    for name in ("Bi-DFCL-PPL", "DFCL-PPL")
  }
  assert rows["Bi-DFCL-PPL"]["p"] == pytest.approx(p["Bi-DFCL-PPL"])
  assert rows["DFCL-PPL"]["p"] == pytest.approx(p["DFCL-PPL"])
  # Two tests: the smaller p is doubled, the larger stays.
  assert rows["Bi-DFCL-PPL"]["p_holm"] == pytest.approx(2 * min(p.values()))
  assert rows["DFCL-PPL"]["p_holm"] == pytest.approx(max(p.values()))
  for name in ("FT", "TSM-SL-RCT", "TSM-SL-BOTH", "ORACLE"):
    assert math.isnan(rows[name]["p"]) and math.isnan(rows[name]["p_holm"])


def test_relative_to_the_mean():
  rows = _rows(summary(_results(), SETTING, relative="mean"))
  # The mean of TSM-SL (RCT) is 70 / 3.
  assert rows["TSM-SL-RCT"]["mean"] == pytest.approx(1)
  assert rows["TSM-SL-RCT"]["sd"] == pytest.approx(
    np.std([10, 20, 40], ddof=1) * 3 / 70
  )
  assert rows["Bi-DFCL-PPL"]["difference"] == pytest.approx(3.5 / 70)


def test_cells_and_caption():
  table = summary(_results(), SETTING)
  assert table.header == (
    "Method",
    "EOM, relative",
    "minus Fine-tuning, %",
    "wins",
    "p",
    "p (Holm)",
    "time, relative",
  )
  cells = {row[0]: row[1:] for row in table.cells}
  assert cells["Fine-tuning"] == ("1.0833 ± 0.0289", *["–"] * 5)
  assert cells["DFCL-PPL"][:3] == ("1.0333 ± 0.0577", "-5.00", "1/3")
  assert cells["Bi-DFCL-PPL"][-1] == "4.50x"
  assert [row[0] for row in table.cells][-1] == "Oracle"
  for words in (
    "S1; budget 1.5",
    "value by ipw",
    "checkpoint rule ema_last",
    "3 seeds",
    "relative to TSM-SL (RCT) (on the same seed)",
    "best simple rival on these seeds, Fine-tuning",
  ):
    assert words in table.caption


def test_one_seed_has_no_spread_and_no_p():
  values = {name: row[:1] for name, row in VALUES.items()}
  table = summary(_results(values), SETTING)
  cells = {row[0]: row[1:] for row in table.cells}
  assert cells["Bi-DFCL-PPL"][:5] == ("1.1500 ± –", "+5.00", "1/1", "–", "–")
  assert "1 seed." in table.caption


def test_seeds_are_matched_by_number_not_by_place():
  results = _results()[::-1]
  results.remove(Result("Bi-DFCL-PPL", 0, {"eom": 11.5}, 9.0))
  table = summary(results, SETTING)
  ours = _rows(table)["Bi-DFCL-PPL"]
  assert (ours["pairs"], ours["wins"]) == (2, 2)
  assert ours["difference"] == pytest.approx(0.05)
  assert "2 to 3 seeds" in table.caption


def test_missing_values_and_named_rivals():
  results = [*_results(), Result("KD-Label", 0, {"eom": None})]
  table = summary(results, SETTING, rivals=["TSM-SL-BOTH"])
  cells = {row[0]: row[1:] for row in table.cells}
  assert cells["KD-Label"] == ("–",) * 6
  assert "minus TSM-SL (RCT+OBS), %" in table.header
  assert math.isfinite(_rows(table)["FT"]["p"])
  with pytest.raises(ValueError, match="for the rival KD-Label"):
    summary(results, SETTING, rivals=["KD-Label"])


def test_no_rival_no_comparison():
  values = {name: VALUES[name] for name in ("TSM-SL-RCT", "DFCL-PPL")}
  table = summary(_results(values), SETTING, rivals=[])
  assert table.header == ("Method", "EOM, relative", "time, s")
  assert "rival" not in table.caption


def test_less_regret_is_better():
  table = summary(_results(metric="regret"), SETTING, metric="regret")
  rows = _rows(table)
  assert "minus TSM-SL (RCT), %" in table.header
  assert rows["Bi-DFCL-PPL"]["wins"] == 0
  assert rows["Bi-DFCL-PPL"]["difference"] > 0


def test_refusals_name_the_culprit():
  with pytest.raises(ValueError, match="'IPS' has no value.*TSM-SL-RCT"):
    summary(_results(), SETTING, reference="IPS")
  with pytest.raises(ValueError, match="relative='total'"):
    summary(_results(), SETTING, relative="total")
  with pytest.raises(ValueError, match="TSM-SL-RCT has the value 0 on seed 1"):
    summary(_results(VALUES | {"TSM-SL-RCT": [1, 0, 1]}), SETTING)
