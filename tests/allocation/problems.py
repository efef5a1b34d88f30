"""Random allocation problems that the tests of this room share."""

import numpy as np

from bidfcl_jax.types import Outcomes, Samples


def offers(n, arms, seed=0, dtype=np.float64):
  """Returns Outcomes whose revenue rises with the offer, not for everyone."""
  rng = np.random.default_rng(seed)
  level = np.linspace(0, 0.2, arms)
  size = rng.lognormal(0, 0.5, (n, 1)) * rng.uniform(0.05, 0.5, (n, 1))
  pull = rng.gamma(2, 0.5, (n, 1))
  response = 1 - np.exp(-level * (4 + 8 * rng.random((n, 1))))
  noise = 0.05 * rng.standard_normal((n, arms)) * (level > 0)
  revenue = size * (1 + pull * response + noise)
  cost = size * level * (1 + pull * response)
  return Outcomes(revenue.astype(dtype), cost.astype(dtype))


def logged(n, arms, seed=0, dtype=np.float32):
  """Returns (outcomes, samples, propensity) of a uniform experiment."""
  rng = np.random.default_rng(seed)
  outcomes = offers(n, arms, seed, dtype)
  arm = rng.integers(0, arms, n).astype(np.int32)
  noise = rng.gamma(1.0, 1.0, n).astype(dtype)
  rows = np.arange(n)
  samples = Samples(
    np.zeros((n, 1), dtype),
    arm,
    outcomes.revenue[rows, arm] * noise,
    outcomes.cost[rows, arm] * noise,
  )
  share = np.bincount(arm, minlength=arms) / n
  return outcomes, samples, share.astype(dtype)


def mean(cells, arms):
  """Returns the float64 mean of cells[i, arms[i]]."""
  return np.asarray(cells, np.float64)[np.arange(len(arms)), arms].mean()
