"""Slow NumPy versions written from the paper, for tests to compare with."""

import itertools

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

# ---- allocation ------------------------------------------------------------


def best_arms(revenue, cost, price):
  """Returns argmax_j r_j - price c_j, row by row: cheapest, then first."""
  arms = []
  for r, c in zip(revenue, np.maximum(cost, 0), strict=True):
    arms.append(min(range(len(r)), key=lambda j: (price * c[j] - r[j], c[j])))
  return np.array(arms, np.int32)


def ipw_spend(revenue, cost, price, arm, paid, share, weight):
  """Returns 1/N sum_i w_i 1[t_i = z_i] c_i / p_{t_i} (Alg. 2)."""
  chosen = best_arms(revenue, cost, price)
  terms = [
    w * y / share[t] * (t == z)
    for w, y, t, z in zip(weight, paid, arm, chosen, strict=True)
  ]
  return sum(terms) / sum(weight)


def dr_spend(revenue, cost, price, arm, paid, share, weight, model):
  """Returns the doubly robust spend with a cost model `[n, M]`."""
  chosen = best_arms(revenue, cost, price)
  total = 0.0
  for i, z in enumerate(chosen):
    total += weight[i] * model[i, z]
    if arm[i] == z:
      total += weight[i] * (paid[i] - model[i, z]) / share[z]
  return total / sum(weight)


def enumerated_optimum(revenue, cost, total):
  """Returns the greatest total revenue over all M^n allocations in budget."""
  rows = range(len(revenue))
  best = -np.inf
  for arms in itertools.product(range(revenue.shape[1]), repeat=len(revenue)):
    if cost[rows, arms].sum() <= total:
      best = max(best, revenue[rows, arms].sum())
  return best


def _program(revenue, cost):
  n, m = revenue.shape
  one_each = sparse.kron(sparse.eye(n), np.ones((1, m)), format="csr")
  return one_each, sparse.csr_matrix(cost.reshape(1, -1))


def milp_optimum(revenue, cost, total):
  """Returns the greatest total revenue within a total budget, exactly."""
  one_each, spend = _program(revenue, cost)
  found = milp(
    -revenue.ravel(),
    constraints=[
      LinearConstraint(one_each, 1, 1),
      LinearConstraint(spend, -np.inf, total),
    ],
    integrality=np.ones(revenue.size),
    bounds=Bounds(0, 1),
    options={"mip_rel_gap": 1e-9},
  )
  return -found.fun


def lp_optimum(revenue, cost, total):
  """Returns the value of the linear relaxation within a total budget."""
  one_each, spend = _program(revenue, cost)
  found = linprog(
    -revenue.ravel(),
    A_ub=spend,
    b_ub=[total],
    A_eq=one_each,
    b_eq=np.ones(len(revenue)),
    bounds=(0, 1),
    method="highs",
  )
  return -found.fun


# ---- evaluation ------------------------------------------------------------


def aucc_loop(treated, revenue, cost, score, bins):
  """AUCC of rows with distinct scores, walked one by one (evaluation.md)."""
  n1, n0 = sum(treated), len(treated) - sum(treated)
  curve, dc, dr = [], 0.0, 0.0
  for i in sorted(range(len(score)), key=lambda i: -score[i]):
    share = 1 / n1 if treated[i] else -1 / n0
    dc, dr = dc + share * cost[i], dr + share * revenue[i]
    curve.append((dc, dr))
  total, level, area = curve[-1][0], 1, 0.0
  for dc, dr in curve:
    if level < bins and dc >= level / bins * total:
      area, level = area + dr, level + 1
  return (area + curve[-1][1]) / (curve[-1][1] * (bins + 1))


def value_loop(arms, samples, propensity, estimator="ipw", model=None):
  """Estimated (revenue, cost, divisor) of giving `arms`, row by row."""
  total = sum(samples.weight)
  sums, mass, direct = [0.0, 0.0], 0.0, [0.0, 0.0]
  for i, arm in enumerate(arms):
    w, t = float(samples.weight[i]), int(samples.arm[i])
    for k, y in enumerate((samples.revenue, samples.cost)):
      m = 0.0 if model is None else (model.revenue, model.cost)[k][i]
      direct[k] += 0.0 if model is None else w * m[arm]
      residual = y[i] - (0.0 if model is None else m[t])
      sums[k] += w * residual / propensity[t] if t == arm else 0.0
    mass += w / propensity[t] if t == arm else 0.0
  if estimator == "snipw":
    return (*(s / mass if mass else 0.0 for s in sums), mass / total)
  return (*((s + d) / total for s, d in zip(sums, direct, strict=True)), 1.0)


def eom_loop(
  revenue, cost, samples, propensity, budget, prices, estimator, model=None
):
  """Algorithm 6 by trying every price: (feasible side, other side) values.

  `prices` are in increasing order and hold every breakpoint between them.
  """
  sides = [
    value_loop(
      best_arms(revenue, cost, price), samples, propensity, estimator, model
    )
    for price in prices
  ]
  over = [k for k, side in enumerate(sides) if side[1] > budget]
  last = max(over, default=-1)
  return sides[last + 1], sides[max(last, 0)]
