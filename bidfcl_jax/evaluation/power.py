"""Is the experiment large enough? The least difference in EOM that it can show.

EOM (Algorithm 6) is an inverse-propensity mean over randomised rows, so its
standard error follows from the outcomes alone, before any model is trained.
With R_g the revenue of a drawn unit (a household or a row), s_g its rows, p_j
the arm shares and a policy that gives arm j to a random share w_j of units:

  V       = sum_j w_j E[r | t=j]
  se^2    = (1/n) sum_j E_j[w_j R^2 - 2 w_j m_j R s + m_j^2 s^2] / (p_j S)
            m_j = w_j E[r | t=j], shares counted on the rows valued
  se_D^2  = (1/n) sum_j 2 q u_j E_j[R^2] / (p_j S)

for the difference D of two policies that disagree on a share q of the units
(u_j: how often arm j is one of the two arms there), with S = E[s] and n rows.
For single rows, equal shares p that are declared and not counted, se / V is
sqrt((M (1 + cv^2) - 1) / n) (simulator.md, last section).

Learnt policies are not random, so these are sizes to expect, no bounds.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from bidfcl_jax.evaluation.constant import arm_means, constant_policies
from bidfcl_jax.evaluation.eom import shares as arm_shares
from bidfcl_jax.types import Samples


class Noise(NamedTuple):
  """Noise of IPW-EOM per root of a row: divide by sqrt(rows) for an error.

  Attributes:
    mix: `[M]` the policy's share of each arm, w.
    value: its revenue per capita, original units.
    sd: of the value.
    sd_difference: of the difference between two policies that both have these
      shares and disagree everywhere (q = 1); times sqrt(q) for a share q.
  """

  mix: np.ndarray
  value: float
  sd: float
  sd_difference: float


def budget_mix(samples: Samples, budget: float, arms: int) -> np.ndarray:
  """Returns `[M]` arm shares of the RANDOM row of the tables at a budget.

  A uniform arm, mixed with the control or the dearest arm to spend the budget
  (evaluation/constant.py). Uniform where that leaves one arm for everybody.

  Args:
    samples: randomised rows.
    budget: per capita, original units.
    arms: M.
  """
  random = constant_policies(samples, budget, arms=arms).random
  uniform = np.full(arms, 1 / arms)
  saves = bool(random.mixed_with_control)
  single = np.zeros(arms)
  if saves:
    single[0] = 1.0
  else:
    single[np.argmax(arm_means(samples, arms=arms).cost[0])] = 1.0
  share = float(random.mix) if saves else 1 - float(random.mix)
  if bool(random.infeasible) or share <= 0:
    return uniform
  return share * uniform + (1 - share) * single


def noise(
  samples: Samples,
  mix: np.ndarray,
  unit: np.ndarray | None = None,
  *,
  propensity=None,
) -> Noise:
  """Estimates the noise of EOM from randomised outcomes.

  Args:
    samples: randomised rows, revenue in original units.
    mix: `[M]` shares w of the policies' arms, adding up to 1.
    unit: `[n]` the unit that was drawn, 0..G-1, each with one arm
      (data.balance.drawn_units); policies then treat a unit as one. None: rows.
    propensity: None: shares counted on the rows that are valued; `[M]`:
      declared.

  Returns:
    Noise, computed in float64.

  Raises:
    ValueError: a mix that is no distribution over the arms; see `eom_result`
      for shares.
  """
  mix = np.asarray(mix, np.float64)
  if mix.ndim != 1 or mix.min() < 0 or abs(mix.sum() - 1) > 1e-6:
    raise ValueError(
      f"mix {mix.tolist()} must give each arm a share of 0 or more, adding up "
      "to 1"
    )
  p = arm_shares(samples, propensity, len(mix))
  arm = np.asarray(samples.arm)
  unit = np.arange(len(arm)) if unit is None else unit
  _, first = np.unique(unit, return_index=True)
  revenue = np.bincount(unit, np.asarray(samples.revenue, np.float64))
  size = np.bincount(unit).astype(np.float64)
  arm = arm[first]
  rows = size.sum()

  def total(values):
    # (rows / n_j) / n: an arm's sum over units, scaled to a share p_j.
    sums = np.bincount(arm, values, minlength=len(mix))
    counted = np.bincount(arm, size, minlength=len(mix))
    return sums / np.where(counted > 0, counted, 1.0)

  mean, second = total(revenue), total(revenue**2)
  product, squares = total(revenue * size), total(size**2)
  value = float(mix @ mean)
  if propensity is None:
    own = mix * mean
    centred = mix * second - 2 * mix * mean * product * mix + own**2 * squares
    variance = np.sum(centred / p)
  else:
    variance = (
      np.sum(mix * second / p)
      - 2 * value * np.sum(mix * product)
      + value**2 * np.sum(size**2) / rows
    )
  differ = 1 - float(mix @ mix)
  if differ <= 0:
    return Noise(mix, value, float(np.sqrt(max(variance, 0.0))), 0.0)
  either = mix * (1 - mix) / differ
  sd_difference = np.sqrt(2 * np.sum(either * second / p))
  return Noise(
    mix, value, float(np.sqrt(max(variance, 0.0))), float(sd_difference)
  )


def _quantiles(level: float, power: float) -> float:
  for name, value in (("level", level), ("power", power)):
    if not 0 < value < 1:
      raise ValueError(f"{name}={value} must lie inside (0, 1)")
  return float(norm.isf(level / 2) + norm.ppf(power))


def detectable(
  sd: float, rows: int, *, level: float = 0.05, power: float = 0.8
) -> float:
  """Returns the least true difference that a test finds with this power.

  (z_{1 - level/2} + z_power) sd / sqrt(rows); two-sided at `level`.

  Args:
    sd: per root of a row, for instance sqrt(q) * Noise.sd_difference.
    rows: randomised rows that value the policies, at least 1.
    level: of the two-sided test.
    power: chance of finding the difference.

  Raises:
    ValueError: no row, or a level or power outside (0, 1).
  """
  if rows < 1:
    raise ValueError(f"rows={rows}: give at least one")
  return _quantiles(level, power) * sd / float(np.sqrt(rows))


def rows_needed(
  sd: float, difference: float, *, level: float = 0.05, power: float = 0.8
) -> float:
  """Returns how many randomised rows show a difference with this power.

  Args:
    sd: as of `detectable`.
    difference: original units; infinitely many rows for 0.
    level: of the two-sided test.
    power: chance of finding the difference.
  """
  factor = _quantiles(level, power) * sd
  if difference == 0:
    return np.inf
  return float(np.ceil((factor / difference) ** 2))
