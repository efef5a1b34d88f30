"""The data report: what was measured of a study, and a verdict on each check.

OK: nothing to do. LOOK: somebody should decide whether it matters. STOP: what
is trained or valued on these rows would mislead; mend the data first.
"""

import math
from typing import NamedTuple

import jax
import numpy as np

from bidfcl_jax import data, evaluation
from bidfcl_jax.data.balance import Balance, SampleRatio
from bidfcl_jax.data.checks import ArmCounts, Repeats
from bidfcl_jax.data.overlap import Overlap
from bidfcl_jax.evaluation.power import Noise
from bidfcl_jax.keys import stream
from bidfcl_jax.types import Study

VERDICTS = ("OK", "LOOK", "STOP")
FEW_ROWS = 100
RATIO_P = 0.001
BALANCE_P = 0.01
NOTABLE_DIFFERENCE = 0.1
WANTED_PERCENT = 1.0
HOPELESS_PERCENT = 5.0


class Measured(NamedTuple):
  """All numbers of the report.

  Attributes:
    arm_names: M names, control first.
    feature_names: d names.
    counts: rows by part and arm.
    ratio: sample-ratio test of the RCT; None where no shares are planned.
    balance: features of the RCT by arm.
    overlap: of OBS.
    repeats: equal rows in two parts.
    households: (part, part) -> households in both.
    shift: (feature, OBS - RCT mean) of the notable ones, in sd.
    noise: of EOM under a mix of arms that spends the budget, an arm drawn at
      random for everyone.
    rows: "rct_valid" and "rct_test" -> rows.
    disagree: share of individuals on which two policies differ.
    budget: per capita, original units.
    truth: whether true outcomes are known, which makes EOM free of noise.
  """

  arm_names: tuple[str, ...]
  feature_names: tuple[str, ...]
  counts: ArmCounts
  ratio: SampleRatio | None
  balance: Balance
  overlap: Overlap
  repeats: list[Repeats]
  households: dict[tuple[str, str], int]
  shift: list[tuple[str, float]]
  noise: Noise
  rows: dict[str, int]
  disagree: float
  budget: float
  truth: bool

  @property
  def sd(self) -> float:
    """Noise per root of a row of the difference at the share `disagree`."""
    return self.noise.sd_difference * math.sqrt(self.disagree)

  def detectable(self, part: str) -> float:
    """Least difference in EOM that a part can show, original units."""
    return evaluation.detectable(self.sd, self.rows[part])

  def rows_needed(self, percent: float = WANTED_PERCENT) -> float:
    """Rows that show a difference of some percent of EOM."""
    return evaluation.rows_needed(self.sd, percent / 100 * self.noise.value)


class Finding(NamedTuple):
  """One line of the report: what was checked, OK | LOOK | STOP, the number."""

  check: str
  verdict: str
  text: str


def measure(
  study: Study,
  key: jax.Array,
  *,
  budget: float,
  shares: np.ndarray | None = None,
  disagree: float = 0.3,
) -> Measured:
  """Takes all measurements.

  Args:
    study: with its test part where there is one.
    key: of the cross-fitting of propensities.
    budget: per capita, original units.
    shares: `[M]` planned shares of the RCT's arms, or None.
    disagree: share of individuals on which two policies differ, in (0, 1].
  """
  rct = data.pooled_rct(study)
  names = study.feature_names or tuple(
    f"feature {k}" for k in range(rct.features.shape[1])
  )
  mix = evaluation.budget_mix(rct, budget, study.arms)
  judged = {"rct_valid": study.rct_valid, "rct_test": study.rct_test}
  return Measured(
    study.arm_names,
    names,
    data.arm_counts(study),
    None if shares is None else data.sample_ratio(rct, shares),
    data.balance(rct, study.arms),
    data.overlap(study.obs, study.arms, stream(key, "overlap")),
    data.repeated_rows(study),
    data.shared_households(study),
    data.covariate_shift(study),
    evaluation.noise(rct, mix, data.drawn_units(rct)),
    {name: len(part) for name, part in judged.items() if part is not None},
    disagree,
    budget,
    study.truth is not None and study.truth.outcomes is not None,
  )


def _arms(m: Measured) -> Finding:
  empty = m.counts.empty()
  if empty:
    words = ", ".join(f"{m.arm_names[j]!r} in {part}" for part, j in empty)
    stop = any(part != "obs" for part, _ in empty)
    way = (
      "EOM cannot value an arm without randomised rows: collect them or leave "
      "the arm out"
      if stop
      else "only the RCT can teach this arm"
    )
    return Finding(
      "arms", "STOP" if stop else "LOOK", f"no row of {words}; {way}"
    )
  part, arm = np.unravel_index(m.counts.counts.argmin(), m.counts.counts.shape)
  least = int(m.counts.counts[part, arm])
  text = (
    f"fewest rows: {least:,} of {m.arm_names[arm]!r} in {m.counts.parts[part]}"
  )
  if least < FEW_ROWS:
    return Finding("arms", "LOOK", f"{text}; its outcomes are mostly noise")
  return Finding("arms", "OK", text)


def _ratio(m: Measured) -> Finding:
  name = "sample ratio"
  if m.ratio is None:
    return Finding(
      name, "LOOK", "the planned shares are not known; give --shares to test"
    )
  text = f"arms of the RCT against the planned shares: p = {m.ratio.p:.3g}"
  if m.ratio.p >= RATIO_P:
    return Finding(name, "OK", text)
  gap = m.ratio.counts / m.ratio.expected - 1
  worst = int(np.argmax(np.abs(gap)))
  return Finding(
    name,
    "STOP",
    f"{text}; {m.arm_names[worst]!r} has {gap[worst]:+.1%} of what was "
    "planned: find out which rows were lost, or correct --shares",
  )


def _balance(m: Measured) -> Finding:
  arm, feature, gap = m.balance.largest(1)[0]
  text = (
    f"can features tell the RCT's arms apart? p = {m.balance.p:.3g}; largest "
    f"difference {gap:+.3f} sd ({m.feature_names[feature]}, "
    f"{m.arm_names[arm]!r} against control)"
  )
  far = abs(gap) > NOTABLE_DIFFERENCE
  if m.balance.p >= BALANCE_P:
    return Finding("balance", "OK", text)
  if far and m.balance.p < RATIO_P:
    return Finding(
      "balance", "STOP", f"{text}; this is no random draw: ask how it was made"
    )
  return Finding(
    "balance", "LOOK", f"{text}; value with an outcome model (dr) as well"
  )


def _overlap(m: Measured) -> Finding:
  o = m.overlap
  share = np.where(o.rows > 0, o.effective / np.maximum(o.rows, 1), 1.0)
  worst = int(np.argmin(share))
  low, arm = float(o.smallest.min()), int(np.argmin(o.smallest))
  under = float(o.below[0.01].max())
  text = (
    f"smallest propensity {low:.2g} ({m.arm_names[arm]!r}), at most "
    f"{under:.1%} of rows under 0.01 and {o.below[0.05].max():.1%} under 0.05; "
    f"least effective rows {o.effective[worst]:,.0f} of {o.rows[worst]:,} "
    f"({m.arm_names[worst]!r})"
  )
  if share[worst] < 0.3 or under > 0.01:
    return Finding(
      "overlap", "LOOK", f"{text}; weights on the logs would lean on few rows"
    )
  return Finding("overlap", "OK", text)


def _repeats(m: Measured) -> Finding:
  name = "repeated rows"
  rows = dict(zip(m.counts.parts, m.counts.counts.sum(axis=1), strict=True))
  worst = max(m.repeats, key=lambda r: (r.excess / rows[r.part], r.rows))
  text = (
    f"{worst.rows:,} of {rows[worst.part]:,} rows of {worst.part} stand in "
    f"{worst.other} too ({worst.pairs:,} pairs"
  )
  if not worst.excess:
    return Finding(
      name, "OK", f"{text}; up to {worst.expected:,.0f} by chance)"
    )
  stop = worst.part == "rct_test" and worst.excess > 0.01 * rows["rct_test"]
  return Finding(
    name,
    "STOP" if stop else "LOOK",
    f"{text}, only {worst.expected:,.0f} by chance): the same individuals in "
    "two parts make results too good; take them out of one",
  )


def _households(m: Measured) -> Finding:
  if not m.households:
    return Finding("households", "OK", "none in two parts")
  words = ", ".join(
    f"{n:,} in {a} and {b}" for (a, b), n in m.households.items()
  )
  stop = any("rct_test" in pair for pair in m.households)
  return Finding(
    "households", "STOP" if stop else "LOOK", f"{words}; split by household"
  )


def _shift(m: Measured) -> Finding:
  name = "OBS against RCT"
  if not m.shift:
    return Finding(name, "OK", "no feature's mean differs by over 0.25 sd")
  words = ", ".join(f"{feature} {gap:+.2f}" for feature, gap in m.shift[:3])
  return Finding(
    name,
    "LOOK",
    f"{len(m.shift)} feature(s) differ by over 0.25 sd ({words}): the RCT "
    "covers another population, and so does its price of the budget",
  )


def _power(m: Measured) -> Finding:
  value = m.noise.value
  if not value > 0 or not m.sd > 0:
    return Finding(
      "power", "LOOK", f"EOM is {value:.4g} here: no percentage of it exists"
    )
  part = "rct_test" if "rct_test" in m.rows else "rct_valid"
  percent = 100 * m.detectable(part) / value
  text = (
    f"{m.rows[part]:,} rows of {part} show a difference of "
    f"{m.detectable(part):.4g} ({percent:.2g} % of EOM {value:.4g}) between "
    f"policies that disagree on {m.disagree:.0%}; {WANTED_PERCENT:g} % needs "
    f"{m.rows_needed():,.0f} rows"
  )
  if percent <= WANTED_PERCENT:
    return Finding("power", "OK", text)
  if m.truth:
    return Finding(
      "power", "LOOK", f"{text}; true outcomes are known here: judge by them"
    )
  stop = percent > HOPELESS_PERCENT
  way = (
    "these rows cannot rank methods" if stop else "small gains will not be seen"
  )
  return Finding("power", "STOP" if stop else "LOOK", f"{text}; {way}")


def findings(measured: Measured) -> list[Finding]:
  """Returns one Finding a check, in the order of the report."""
  checks = (
    _arms, _ratio, _balance, _overlap, _repeats, _households, _shift, _power,
  )  # fmt: skip
  return [check(measured) for check in checks]


def overall(found: list[Finding]) -> str:
  """Returns the gravest verdict."""
  return max((f.verdict for f in found), key=VERDICTS.index)
