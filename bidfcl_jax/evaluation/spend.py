"""The price of a budget by the experiment's own money (deployment price).

A learnt cost is biased by OBS, and a decision loss fixes costs up to a scale
only: a price that meets the budget on *predicted* costs may overspend. Here
the spend of each price is estimated on randomised rows that no learner saw,

  S(price) = 1/N sum_i 1[t_i = z_i(price)] c_i / p_{t_i}          (eq. 11)

with shares counted on the same rows. True spend falls as the price rises; the
estimate is noisy and need not, so the curve is the monotone fit nearest to it
(isotonic regression). Where it is level the greatest price is taken, so that
no lower price of equal spend hides a part that overspends.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
from scipy.optimize import isotonic_regression

from bidfcl_jax.allocation import choose
from bidfcl_jax.evaluation.bootstrap import bootstrap
from bidfcl_jax.evaluation.cost_curves import cost_curve
from bidfcl_jax.evaluation.eom import estimated_value, in_float64
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.types import Array, Interval, Outcomes, Samples


class PriceCurve(NamedTuple):
  """RCT-estimated spend of every price; float64, per capita.

  Attributes:
    price: `[k]`, increasing from 0.
    spend: `[k]`, never increasing.
  """

  price: np.ndarray
  spend: np.ndarray


def price_curve(
  outcomes: Outcomes, samples: Samples, propensity=None, *, points: int = 200
) -> PriceCurve:
  """Fits the falling curve price -> estimated spend.

  Args:
    outcomes: predictions `[n, M]` on the rows, original units.
    samples: randomised Samples of the same individuals, not learnt from.
    propensity: None: shares counted on these rows; `[M]`: declared shares,
      for a part so small that an arm has no row in it.
    points: the most prices, spread evenly over predicted spend.

  Returns:
    PriceCurve.

  Raises:
    ValueError: see `cost_curve`.
  """
  curve = cost_curve(outcomes, samples, propensity, points=points)
  priced = np.isfinite(curve.price)
  price, first = np.unique(curve.price[priced], return_index=True)
  fit = isotonic_regression(curve.cost[priced][first], increasing=False)
  return PriceCurve(price, fit.x)


def price_of_budget(curve: PriceCurve, budget: float) -> float:
  """Interpolates the price at which the curve spends a budget.

  Args:
    curve: from `price_curve`.
    budget: per capita, original units.

  Returns:
    The price; 0 where even price 0 spends no more than the budget.

  Raises:
    ValueError: a budget below the least spend of the curve, with both.
  """
  least, most = curve.spend[-1], curve.spend[0]
  if not budget >= least:
    raise ValueError(
      f"budget {budget:g} is below {least:g}, the least RCT-estimated spend of "
      "this run's policies: no price meets it; raise the budget, or take the "
      "price from predicted costs (--price_from=model)"
    )
  if budget >= most:
    return 0.0
  equal = np.flatnonzero(curve.spend == budget)
  if len(equal):
    return float(curve.price[equal[-1]])
  return float(np.interp(budget, curve.spend[::-1], curve.price[::-1]))


def priced_mixture(
  curve: PriceCurve, control: float, budget: float
) -> tuple[float, float]:
  """Finds the price of a budget, or who must be left alone besides.

  Where predicted costs are learnt, even the dearest price may leave some
  individuals an offer. A smaller budget is spent in expectation by giving a
  random share the control, as EOM does (Algorithm 6).

  Args:
    curve: from `price_curve`.
    control: spend per capita of giving everyone the control.
    budget: per capita, original units.

  Returns:
    (price, share in [0, 1) of individuals that get the control instead).

  Raises:
    ValueError: a budget below the least spend of the curve and `control`, too.
  """
  least = curve.spend[-1]
  if budget >= least or not control <= budget:
    return price_of_budget(curve, budget), 0.0
  return float(curve.price[-1]), float((least - budget) / (least - control))


def shares_by_weight(samples: Samples, arms: int) -> Array:
  """Counts arm shares `[M]` with the rows' weights; pure jnp."""
  hot = jax.nn.one_hot(samples.arm, arms, dtype=samples.weight.dtype)
  return jax.vmap(weighted_mean, (1, None))(hot, samples.weight)


@functools.partial(jax.jit, static_argnames="count")
def _spend(arms: Array, rows: Samples, count: int) -> Array:
  return estimated_value(arms, rows, shares_by_weight(rows, count)).cost


def rct_spend(
  outcomes: Outcomes,
  samples: Samples,
  price: float,
  key: jax.Array,
  *,
  replicates: int = 200,
) -> Interval:
  """Estimates what a price spends, with its bootstrap interval by group.

  Args:
    outcomes: predictions `[n, M]` on the rows, original units.
    samples: randomised Samples of the same individuals, not learnt from.
    price: of one unit of cost.
    key: of the bootstrap.
    replicates: bootstrap draws, each with its arm shares counted anew.

  Returns:
    Interval (95 %), per capita, float64.
  """
  count = np.shape(outcomes.revenue)[1]
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), outcomes)
    rows = in_float64(samples)
    arms = choose(wide, np.float64(price))
    return bootstrap(
      lambda weight: _spend(arms, rows.replace(weight=weight), count),
      rows,
      key,
      replicates=replicates,
    )
