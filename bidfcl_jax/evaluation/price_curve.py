"""The cost curve of any number of arms, and the area under it (ours).

As the price of cost falls from infinity to 0 the policies of the predictions
move from all-control to the arm of highest predicted revenue. Their estimated
(cost, revenue) points are the cost curve; the area under it, normalised to its
end points, generalises AUCC, whose curve adds individuals in the same order.
"""

import jax
import numpy as np

from bidfcl_jax.allocation import choose, path
from bidfcl_jax.evaluation.at_budget import checked
from bidfcl_jax.evaluation.eom import estimated_value, in_float64, shares
from bidfcl_jax.types import Curve, Outcomes, Samples


@jax.jit
def _points(outcomes, samples, propensity, prices):
  def point(price):
    return estimated_value(choose(outcomes, price), samples, propensity)

  return jax.lax.map(point, prices)


def cost_curve(
  outcomes: Outcomes, samples: Samples, propensity, *, points: int = 200
) -> Curve:
  """Estimates cost and revenue of the predicted policies over all prices.

  Prices are spread evenly over the *predicted* spend. The first point is
  all-control (price inf), the last the price 0; prices fall, predicted spend
  does not, and of neighbours with equal estimates one is kept. The estimated
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
  if points < 2:
    raise ValueError(f"points={points}: a curve needs at least its 2 ends")
  outcomes = checked("predicted", outcomes, len(samples))
  propensity = shares(samples, propensity, outcomes.revenue.shape[1])
  kept = np.asarray(samples.weight) > 0
  whole = path(Outcomes(outcomes.revenue[kept], outcomes.cost[kept]))
  spends = np.linspace(whole.cost[0], whole.cost[-1], points - 1)
  at = np.minimum(np.searchsorted(whole.cost, spends), len(whole.cost) - 1)
  # One row never changes arm between equal prices, so each is tried once.
  prices = np.unique(np.append(whole.price[at], 0.0))[::-1]
  with jax.enable_x64(True):
    sides = jax.device_get(
      _points(outcomes, in_float64(samples), propensity, prices)
    )
    control = jax.device_get(
      estimated_value(
        np.zeros(len(samples), np.int32), in_float64(samples), propensity
      )
    )
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
