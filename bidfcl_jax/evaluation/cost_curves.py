"""Cost curves of any number of arms, and the area under one (ours).

As the price of cost falls from infinity to 0 the policies of the predictions
move from all-control to the arm of highest predicted revenue. Their (cost,
revenue) points are the cost curve, estimated on randomised rows or, where the
outcomes are known, the true one. The area under it, normalised to its end
points, generalises AUCC, whose curve adds individuals in the same order.
"""

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.allocation import choose, path
from bidfcl_jax.evaluation.at_budget import Side, checked
from bidfcl_jax.evaluation.eom import estimated_value, in_float64, shares
from bidfcl_jax.evaluation.oracle import checked_pair, true_value
from bidfcl_jax.types import Curve, Outcomes, Samples


def cost_curve(
  outcomes: Outcomes, samples: Samples, propensity, *, points: int = 200
) -> Curve:
  """Estimates cost and revenue of the predicted policies over all prices.

  Prices are spread evenly over the *predicted* spend. The first point is
  all-control (price inf), the last the policy of price 0; prices fall,
  predicted spend does not, and of neighbours with equal estimates the first is
  kept. The estimated
  cost is noisy and may fall from one point to the next: nothing is sorted, so
  that a point stays the value of its price.

  Args:
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.
    samples: randomised Samples of the same individuals; rows of weight 0
      change nothing.
    propensity: None: shares counted on these rows; `[M]`: declared shares.
    points: the most points, at least 2.

  Returns:
    Curve `[k]` of float64 NumPy arrays, 1 <= k <= points, estimator "ipw".

  Raises:
    ValueError: shapes, a prediction that is not finite, shares that are
      refused, or fewer than 2 points.
  """
  outcomes = checked("predicted", outcomes, len(samples))
  propensity = shares(samples, propensity, outcomes.revenue.shape[1])
  kept = np.asarray(samples.weight) > 0
  prices = _prices(
    Outcomes(outcomes.revenue[kept], outcomes.cost[kept]), points
  )
  with jax.enable_x64(True):
    rows = in_float64(samples)
    return _curve(*_estimated(outcomes, rows, propensity, prices), prices)


def true_cost_curve(
  outcomes: Outcomes, truth: Outcomes, *, points: int = 200
) -> Curve:
  """Computes the curve of `cost_curve` where the outcomes are known.

  Args:
    outcomes: predictions `[n, M]`, original units; costs below 0 count as 0.
    truth: true expected outcomes `[n, M]` of the same individuals.
    points: the most points, at least 2.

  Returns:
    Curve `[k]` of float64 NumPy arrays, 1 <= k <= points: true cost and
    revenue per capita, in the order of falling prices.

  Raises:
    ValueError: shapes that differ, a value that is not finite, a true cost
      below 0, or fewer than 2 points.
  """
  outcomes, truth = checked_pair(outcomes, truth)
  prices = _prices(outcomes, points)
  with jax.enable_x64(True):
    return _curve(*_true(outcomes, truth, prices), prices)


@jax.jit
def _estimated(outcomes, samples, propensity, prices):
  def value(arms):
    return estimated_value(arms, samples, propensity)

  return _ends_and_points(value, outcomes, prices)


@jax.jit
def _true(outcomes, truth, prices):
  return _ends_and_points(
    lambda arms: true_value(arms, truth), outcomes, prices
  )


def _ends_and_points(value, outcomes, prices) -> tuple[Side, Side]:
  """Returns the values of all-control and of the policy of each price."""
  control = jnp.zeros(outcomes.revenue.shape[0], jnp.int32)
  points = jax.lax.map(lambda price: value(choose(outcomes, price)), prices)
  return value(control), points


def _prices(outcomes: Outcomes, points: int) -> np.ndarray:
  """Returns `[points - 1]` falling prices, evenly over predicted spend."""
  if points < 2:
    raise ValueError(f"points={points}: a curve needs at least its 2 ends")
  whole = path(outcomes)
  spends = np.linspace(whole.cost[0], whole.cost[-1], points - 1)
  at = np.minimum(np.searchsorted(whole.cost, spends), len(whole.cost) - 1)
  prices = whole.price[at]
  prices[-1] = 0.0
  return prices


def _curve(control: Side, sides: Side, prices) -> Curve:
  """Joins all-control and the points, of equal neighbours keeping the first."""
  control, sides = jax.device_get((control, sides))
  cost = np.append(control.cost, sides.cost)
  revenue = np.append(control.revenue, sides.revenue)
  new = (np.diff(cost, prepend=np.nan) != 0) | (
    np.diff(revenue, prepend=np.nan) != 0
  )
  return Curve(cost[new], revenue[new], np.append(np.inf, prices)[new])


def area_under_curve(curve: Curve) -> float:
  """Returns the area under a cost curve between its end points, normalised.

  Both axes are shifted and scaled so that the curve runs from (0, 0) to (1, 1)
  and the area is taken by trapezoid; 0.5 is a straight line (random order).

  Args:
    curve: Curve from all-control on.

  Returns:
    float; NaN where the end points have the same cost or revenue, or the last
    costs less than the first.
  """
  cost = np.asarray(curve.cost, np.float64)
  revenue = np.asarray(curve.revenue, np.float64)
  run, rise = cost[-1] - cost[0], revenue[-1] - revenue[0]
  if run <= 0 or rise == 0:
    return float("nan")
  x, y = (cost - cost[0]) / run, (revenue - revenue[0]) / rise
  return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)
