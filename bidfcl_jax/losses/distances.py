"""Distances between two weighted sets of points, for balanced representations.

Wasserstein (Shalit, Johansson, Sontag, ICML 2017), Euclidean cost matrix C,
entropy eps = epsilon * mean(C) of each matrix, cost sum(P C) of its plan P:

  "debiased"  S(A, B) = W(A, B) - W(A, A) / 2 - W(B, B) / 2 of entropic
              transport in the log domain; 0 for a set and itself
  "cfr"       the public code of the paper: kernel exp(-C / eps) + 1e-6, a slack
              row and column at cost max(C) with half of the mass, doubled

MMD^2: "linear" is the squared distance of the means, "rbf" the unbiased
estimator with a mixture of Gaussian kernels.

Sets have fixed shapes, `[k, h]` points with `[k]` weights, 0 for padding; an
empty set gives a finite number that means nothing.
"""

import functools

import jax
import jax.numpy as jnp

from bidfcl_jax.losses.value import safe_ratio
from bidfcl_jax.types import Array

FORMS = ("debiased", "cfr")
KERNELS = ("linear", "rbf")
LEAST_EPSILON = 0.03
# Squared distances below are rounding; the root's slope is infinite at 0.
_ZERO = 1e-12
_BANDWIDTHS = (0.5, 1.0, 2.0)


def _square_distances(first: Array, second: Array) -> jax.Array:
  cross = jnp.matmul(first, second.T, precision=jax.lax.Precision.HIGHEST)
  norms = jnp.sum(first**2, axis=1)[:, None] + jnp.sum(second**2, axis=1)
  return jnp.maximum(norms - 2 * cross, 0)


def _euclidean(first: Array, second: Array) -> jax.Array:
  square = _square_distances(first, second)
  apart = square > _ZERO
  return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def _shares(weight: Array) -> jax.Array:
  return safe_ratio(weight, jnp.sum(weight))


def _log(share: Array) -> jax.Array:
  # Finite for a share of 0, so that an empty set gives no NaN.
  return jnp.log(jnp.maximum(share, jnp.finfo(share.dtype).tiny))


def _transport(cost, a, b, entropy, sweeps: int) -> jax.Array:
  """Cost of the entropic plan after `sweeps` Sinkhorn sweeps, `sum(P C)`.

  The first sweep, in the log domain, gives a plan with the right row sums even
  where exp(-C / entropy) is 0; the others scale its rows and columns, which is
  the same iteration by matrix products, a tenth of the time. It holds while no
  potential has to move by over 80 entropies after the first sweep: hence
  LEAST_EPSILON. The plan is a constant in the gradient: by the envelope
  theorem, P dC is what moves the entropic problem's optimum.
  """
  frozen = -jax.lax.stop_gradient(cost) / entropy
  # A row or column of no weight is finite in the log and 0 in the plan.
  column = jax.nn.logsumexp(frozen + _log(a)[:, None], axis=0)
  row = jax.nn.logsumexp(frozen - column + _log(b), axis=1)
  pairs = a[:, None] * b
  gain = jnp.where(pairs > 0, frozen - row[:, None] - column, 0)
  plan = pairs * jnp.exp(gain)

  def sweep(_, u):
    v = safe_ratio(b, u @ plan)
    return safe_ratio(a, plan @ v)

  u = jax.lax.fori_loop(1, sweeps, sweep, (a > 0).astype(plan.dtype))
  v = safe_ratio(b, u @ plan)
  plan = u[:, None] * plan * v
  return jnp.sum(plan * cost)


def _entropy(cost, a, b, epsilon):
  # Identical points have no scale of their own.
  return jnp.maximum(epsilon * jax.lax.stop_gradient(a @ cost @ b), 1e-6)


def _debiased(first, a, second, b, epsilon, sweeps):
  def transport(first, a, second, b):
    cost = _euclidean(first, second)
    return _transport(cost, a, b, _entropy(cost, a, b, epsilon), sweeps)

  across = transport(first, a, second, b)
  return across - 0.5 * (
    transport(first, a, first, a) + transport(second, b, second, b)
  )


def _public_code(first, a, second, b, epsilon, sweeps):
  cost = _euclidean(first, second)
  real = (a[:, None] > 0) & (b > 0)
  highest = jax.lax.stop_gradient(jnp.max(jnp.where(real, cost, 0)))
  entropy = _entropy(cost, a, b, epsilon)
  # The slack row and column; their corner costs nothing.
  cost = jnp.full((len(a) + 1, len(b) + 1), highest).at[:-1, :-1].set(cost)
  cost = cost.at[-1, -1].set(0)
  a, b = (jnp.append(share / 2, 0.5) for share in (a, b))
  kernel = jnp.exp(-cost / entropy) + 1e-6

  def sweep(_, u):
    return safe_ratio(a, kernel @ safe_ratio(b, u @ kernel))

  u = jax.lax.fori_loop(0, sweeps, sweep, a)
  v = safe_ratio(b, u @ kernel)
  plan = jax.lax.stop_gradient(u[:, None] * kernel * v)
  return 2 * jnp.sum(plan * cost)


@functools.partial(jax.jit, static_argnames=("form", "epsilon", "sweeps"))
def wasserstein(
  first: Array,
  second: Array,
  first_weight: Array,
  second_weight: Array,
  *,
  form: str = "debiased",
  epsilon: float = 0.1,
  sweeps: int = 20,
) -> jax.Array:
  """Entropic Wasserstein distance with Euclidean cost.

  Args:
    first: `[k, h]` points.
    second: `[l, h]` points.
    first_weight: `[k]`, 0 for padding.
    second_weight: `[l]`, 0 for padding.
    form: "debiased" or "cfr", see above.
    epsilon: entropy in units of the mean cost, at least LEAST_EPSILON.
    sweeps: Sinkhorn sweeps.

  Returns:
    Scalar; its gradient holds the transport plan constant.

  Raises:
    ValueError: unknown form, or too small an epsilon.
  """
  if form not in FORMS:
    raise ValueError(f"form {form!r} is not one of {FORMS}")
  if not epsilon >= LEAST_EPSILON:
    raise ValueError(
      f"epsilon={epsilon}: the entropy must be at least {LEAST_EPSILON} of the "
      "mean cost"
    )
  chosen = _debiased if form == "debiased" else _public_code
  a, b = _shares(first_weight), _shares(second_weight)
  return chosen(first, a, second, b, epsilon, sweeps)


def _rbf(first, a, second, b) -> jax.Array:
  """Unbiased MMD^2, Gaussian kernels at median distance x _BANDWIDTHS."""
  across = _square_distances(first, second)
  real = (a[:, None] > 0) & (b > 0)
  distances = jnp.sort(jnp.where(real, across, jnp.inf).ravel())
  middle = distances[jnp.maximum(jnp.sum(real) - 1, 0) // 2]
  usable = jnp.isfinite(middle) & (middle > 0)
  square = jax.lax.stop_gradient(jnp.where(usable, middle, 1))

  def kernel(distance):
    scaled = distance / (2 * square)
    return sum(jnp.exp(-scaled / width**2) for width in _BANDWIDTHS) / len(
      _BANDWIDTHS
    )

  def within(points, weight):
    pairs = weight[:, None] * weight
    pairs = pairs * (1 - jnp.eye(len(weight), dtype=pairs.dtype))
    cells = kernel(_square_distances(points, points))
    return safe_ratio(jnp.sum(pairs * cells), jnp.sum(pairs))

  pairs = a[:, None] * b
  between = safe_ratio(jnp.sum(pairs * kernel(across)), jnp.sum(pairs))
  return within(first, a) + within(second, b) - 2 * between


@functools.partial(jax.jit, static_argnames="kernel")
def mmd(
  first: Array,
  second: Array,
  first_weight: Array,
  second_weight: Array,
  *,
  kernel: str = "linear",
) -> jax.Array:
  """Squared maximum mean discrepancy.

  Args:
    first: `[k, h]` points.
    second: `[l, h]` points.
    first_weight: `[k]`, 0 for padding.
    second_weight: `[l]`, 0 for padding.
    kernel: "linear" or "rbf", see above.

  Returns:
    Scalar; "rbf" is unbiased and may be negative.

  Raises:
    ValueError: unknown kernel.
  """
  if kernel not in KERNELS:
    raise ValueError(f"kernel {kernel!r} is not one of {KERNELS}")
  a, b = _shares(first_weight), _shares(second_weight)
  if kernel == "rbf":
    return _rbf(first, a, second, b)
  return jnp.sum((a @ first - b @ second) ** 2)
