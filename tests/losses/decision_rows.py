"""Made-up randomised rows for the tests of decision losses."""

import jax.numpy as jnp
import numpy as np

from bidfcl_jax.types import Outcomes, Samples


def rows(n, arms, seed=0):
  """Returns (outcomes, samples, uniform propensity) of n rows, M arms."""
  rng = np.random.default_rng(seed)
  samples = Samples(
    jnp.zeros((n, 1)),
    jnp.asarray(rng.integers(0, arms, n), jnp.int32),
    jnp.asarray(rng.gamma(2.0, 1.0, n)),
    jnp.asarray(rng.gamma(1.0, 1.0, n)),
  )
  outcomes = Outcomes(
    jnp.asarray(rng.normal(size=(n, arms))),
    jnp.asarray(rng.gamma(1.0, 1.0, (n, arms))),
  )
  return outcomes, samples, jnp.full(arms, 1 / arms)
