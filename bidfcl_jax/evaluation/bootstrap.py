"""Bootstrap interval of any metric over test individuals, for one model.

Beyond the paper. Poisson(1) weights stand for resampling with replacement:
nothing is sorted or gathered again, and a metric is any function of the row
weights, so that a ratio (snipw, AUCC, shares counted anew) is resampled as a
ratio. All rows of a group get one weight: a household is drawn whole or not
at all.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.keys import stream
from bidfcl_jax.types import Array, Interval, Samples

# P(Poisson(1) <= k) on the scale of 32 random bits; the mass above k = 11 is
# under 2^-32. A table is over ten times faster than jax.random.poisson.
_THRESHOLDS = tuple(
  int(2**32 * sum(math.exp(-1) / math.factorial(i) for i in range(k + 1)))
  for k in range(12)
)


@functools.partial(jax.jit, static_argnums=1)
def poisson_weights(key: jax.Array, count: int) -> jax.Array:
  """Draws `[count]` Poisson(1) counts, int32, from 32 random bits each."""
  bits = jax.random.bits(key, (count,), jnp.uint32)
  counts = jnp.zeros(count, jnp.int32)
  for threshold in _THRESHOLDS:
    counts += bits >= jnp.uint32(threshold)
  return counts


def bootstrap(
  metric: Callable[[Array], Array],
  samples: Samples,
  key: jax.Array,
  *,
  replicates: int,
  level: float = 0.95,
  kind: str = "percentile",
  vmapped: int = 0,
) -> Interval:
  """Bootstraps a metric over groups of individuals.

  Args:
    metric: weights `[n]` -> scalar, or an array of several metrics. A host
      function is fine; a pure jnp one can be vmapped. A metric that divides by
      arm shares should count them with these weights.
    samples: Samples; `weight` multiplies the drawn weights (padding stays 0),
      `group` says which rows are drawn together.
    key: JAX key; the same key gives the same interval, whatever `vmapped`.
    replicates: number of weight vectors, at least 2.
    level: coverage of the interval.
    kind: "percentile" (quantiles of the replicates) or "basic" (these
      mirrored at the estimate).
    vmapped: 0 calls metric once a replicate on the host; k > 0 maps it in
      jitted blocks of k replicates (memory: k * n weights).

  Returns:
    Interval of float64 scalars (arrays of the metric's shape): the metric at
    the samples' own weights, the ends, and the standard deviation of the
    replicates. A replicate that is NaN makes low, high and se NaN: dropping it
    would bias them.

  Raises:
    ValueError: fewer than 2 replicates, a level outside (0, 1), or an unknown
      kind.
  """
  if replicates < 2:
    raise ValueError(f"replicates={replicates}: a spread needs at least 2")
  if not 0 < level < 1:
    raise ValueError(f"level={level} must lie inside (0, 1)")
  if kind not in ("percentile", "basic"):
    raise ValueError(f"kind {kind!r} is not 'percentile' or 'basic'")
  _, group = np.unique(np.asarray(samples.group), return_inverse=True)
  count = int(group.max()) + 1
  one_row_each = count == len(group)
  weight = jnp.asarray(samples.weight)
  rows = None if one_row_each else jnp.asarray(group, jnp.int32)
  key = stream(key, "bootstrap")

  def draw(replicate):
    drawn = poisson_weights(jax.random.fold_in(key, replicate), count)
    return weight * (drawn if rows is None else drawn[rows])

  numbers = np.arange(replicates, dtype=np.int32)
  if vmapped:
    mapped = jax.jit(
      lambda ids: jax.lax.map(
        lambda i: metric(draw(i)), ids, batch_size=vmapped
      )
    )
    values = np.asarray(mapped(numbers), np.float64)
  else:
    values = np.array([np.float64(metric(draw(i))) for i in numbers])
  estimate = np.float64(metric(weight))
  tail = (1 - level) / 2
  low, high = np.quantile(values, (tail, 1 - tail), axis=0)
  if kind == "basic":
    low, high = 2 * estimate - high, 2 * estimate - low
  return Interval(estimate, low, high, values.std(axis=0, ddof=1))
