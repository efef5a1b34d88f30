"""The hypergradient against closed form, dense solve and finite differences."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from bidfcl_jax.bilevel import hypergradient
from bidfcl_jax.methods.updates import meta_update


def test_fc_14_scalar_and_quadratic_closed_forms():
  gradient, info = hypergradient(
    lambda t, p: (t - p) ** 2 / 2,
    lambda t: (t - 1) ** 2,
    jnp.asarray(3.0),
    jnp.asarray(3.0),
  )
  assert gradient == pytest.approx(4.0)
  assert info.accepted
  a = jnp.diag(jnp.array([1.0, 4.0]))
  gradient, _ = hypergradient(
    lambda t, p: t @ a @ t / 2 - p @ t,
    lambda t: jnp.array([2.0, 4.0]) @ t,
    jnp.ones(2),
    jnp.ones(2),
  )
  np.testing.assert_allclose(gradient, [2.0, 1.0], rtol=1e-6)


def test_cg_is_the_closed_form_to_eight_digits_in_float64():
  # baselines.md 5.5 (a): dL_up/dphi = -g' H^-1 (d2 L_low / dtheta dphi).
  with jax.enable_x64(True):
    rng = np.random.default_rng(3)
    root, cross = rng.normal(size=(2, 6, 6))
    curvature = jnp.asarray(root @ root.T + np.eye(6))
    cross, upper = jnp.asarray(cross), jnp.asarray(rng.normal(size=6))
    gradient, info = hypergradient(
      lambda t, p: t @ curvature @ t / 2 + t @ cross @ p,
      lambda t: upper @ t,
      jnp.ones(6),
      jnp.ones(6),
      solver="cg",
    )
    exact = -cross.T @ jnp.linalg.solve(curvature, upper)
    assert info.accepted
    np.testing.assert_allclose(gradient, exact, rtol=1e-8)


@pytest.mark.parametrize(
  ("diagonal", "damping", "accepted", "flag"),
  [
    ((1.0, -1.0), 0.0, False, True),
    ((1.0, 0.0), 0.0, False, None),
    ((1.0, -2.0), 0.0, True, True),
    ((1.0, -1.0), 2.0, True, False),
  ],
)
def test_fc_13_outside_cgs_assumptions(diagonal, damping, accepted, flag):
  d = jnp.array(diagonal)
  gradient, info = hypergradient(
    lambda t, p: jnp.sum(d * t * t) / 2 - p @ t,
    jnp.sum,
    jnp.ones(2),
    jnp.ones(2),
    damping=damping,
  )
  assert bool(info.accepted) is accepted
  if flag is not None:
    assert bool(info.negative_curvature) is flag
  assert np.isfinite(gradient).all()
  assert np.isfinite(info.solution).all()
  assert not np.isnan(info.residual)
  if not accepted:
    np.testing.assert_array_equal(gradient, 0)
  if damping:
    np.testing.assert_allclose(info.solution, [1 / 3, 1.0], rtol=1e-5)


@pytest.mark.parametrize("singular", [(1.0, -1.0), (1.0, 0.0)])
def test_fc_13_a_singular_solve_leaves_the_bridge_to_the_bit(singular):
  adam = optax.adam(0.1)

  @jax.jit
  def update(phi, moments, diagonal):
    gradient, info = hypergradient(
      lambda t, p: jnp.sum(diagonal * t * t) / 2 - p @ t,
      jnp.sum,
      jnp.ones(2),
      phi,
    )
    return meta_update(adam, gradient, phi, moments, info.accepted)

  fresh = jnp.ones(2), adam.init(jnp.ones(2))
  # With moments at hand a gradient of 0 would still move the bridge.
  moved = update(*fresh, jnp.array([1.0, -2.0]))
  assert not np.array_equal(moved[0], fresh[0])
  chex.assert_tree_all_finite(moved)
  chex.assert_trees_all_equal(update(*moved, jnp.array(singular)), moved)


def test_fc_13_spread_spectrum_is_not_converged_and_zero_gives_zero():
  d = jnp.logspace(0, 6, 50)

  def lower(t, p):
    return jnp.sum(d * t * t) / 2 - p @ t

  _, info = hypergradient(lower, jnp.sum, jnp.ones(50), jnp.ones(50))
  assert not info.converged
  assert info.residual > 0.5
  _, info = hypergradient(
    lower, lambda t: 0.0 * jnp.sum(t), jnp.ones(50), jnp.ones(50)
  )
  np.testing.assert_array_equal(info.solution, 0)
  assert info.residual == 0


def _tiny_mlp():
  """A convex-enough problem: a tiny MLP with strong decay, gates per cell."""
  keys = jax.random.split(jax.random.key(0), 5)
  x = jax.random.normal(keys[0], (40, 3))
  taught = jax.random.normal(keys[1], (40, 2))
  theta = {
    "w": jax.random.normal(keys[2], (3, 4)),
    "v": jax.random.normal(keys[3], (4, 2)),
  }
  phi = jax.random.normal(keys[4], (3, 2))

  def residuals(theta, phi):
    predicted = jnp.tanh(x @ theta["w"]) @ theta["v"]
    gate = jax.nn.sigmoid(x @ phi)
    decay = jnp.concatenate([theta["w"].ravel(), theta["v"].ravel()])
    fit = (gate * (predicted - taught) / 40**0.5).ravel()
    return jnp.concatenate([fit, decay])

  def lower(theta, phi):
    return jnp.sum(residuals(theta, phi) ** 2)

  def upper(theta):
    return jnp.mean(jnp.tanh(x @ theta["w"]) @ theta["v"] @ jnp.ones(2))

  return lower, upper, residuals, theta, phi


@pytest.mark.parametrize("solver", ["cg", "cg_normal", "cg_gauss_newton"])
def test_against_a_dense_solve_in_float64(solver):
  with jax.enable_x64(True):
    lower, upper, residuals, theta, phi = _tiny_mlp()
    damping = 10.0

    @jax.jit
    def solve(theta, phi):
      return hypergradient(
        lower,
        upper,
        theta,
        phi,
        residuals=residuals,
        solver=solver,
        damping=damping,
        maxiter=200,
        diagnostics="full",
      )

    gradient, info = solve(theta, phi)
    flat, back = ravel_pytree(theta)

    def flat_lower(t, p):
      return lower(back(t), p)

    if solver == "cg_gauss_newton":
      jacobian = jax.jacobian(lambda t: residuals(back(t), phi))(flat)
      curvature = 2 * jacobian.T @ jacobian
    else:
      curvature = jax.jit(jax.hessian(flat_lower))(flat, phi)
    right = jax.grad(lambda t: upper(back(t)))(flat)
    v = jnp.linalg.solve(curvature + damping * jnp.eye(flat.size), right)
    cross = jax.jit(jax.jacobian(jax.grad(flat_lower), argnums=1))
    mixed = cross(flat, phi)
    dense = -jnp.tensordot(v, mixed, axes=1)
    assert info.converged
    assert not info.negative_curvature
    error = jnp.linalg.norm(gradient - dense) / jnp.linalg.norm(dense)
    assert error < 1e-5


def test_fc_14_central_differences_of_the_converged_lower_level():
  with jax.enable_x64(True):
    keys = jax.random.split(jax.random.key(1), 4)
    x = jax.random.normal(keys[0], (60, 5))
    y = jax.random.normal(keys[1], (60, 3))
    taught = jax.random.normal(keys[2], (60, 3))
    phi = 0.3 * jax.random.normal(keys[3], (5, 3))

    def lower(theta, phi):
      gate = jax.nn.sigmoid(x @ phi)
      label = gate * taught + (1 - gate) * y
      return jnp.mean(jnp.sum((x @ theta - label) ** 2, axis=1))

    def upper(theta):
      policy = jax.nn.softmax(x @ theta, axis=1)
      return -jnp.mean(jnp.sum(policy * y, axis=1))

    def solved(phi):
      gate = jax.nn.sigmoid(x @ phi)
      label = gate * taught + (1 - gate) * y
      return jnp.linalg.solve(x.T @ x, x.T @ label)

    hyper = jax.jit(lambda theta, phi: hypergradient(lower, upper, theta, phi))
    gradient, _ = hyper(solved(phi), phi)
    step = 1e-5
    at = jax.jit(lambda phi: upper(solved(phi)))
    differences = np.zeros(phi.shape)
    for i, j in np.ndindex(*phi.shape):
      shift = np.zeros(phi.shape)
      shift[i, j] = step
      differences[i, j] = (at(phi + shift) - at(phi - shift)) / (2 * step)
    error = np.linalg.norm(gradient - differences)
    assert error / np.linalg.norm(differences) < 1e-5
    single = jax.tree.map(lambda a: a.astype(jnp.float32), (solved(phi), phi))
    x, y, taught = (a.astype(jnp.float32) for a in (x, y, taught))
    # A new wrapper: the first has the 64-bit x and y compiled in.
    rough, _ = jax.jit(lambda t, p: hypergradient(lower, upper, t, p))(*single)
    assert rough.dtype == jnp.float32
    assert np.linalg.norm(rough - gradient) < 1e-2 * np.linalg.norm(gradient)


def test_explicit_is_the_implicit_form_with_v_equal_to_the_step():
  lower, upper, _, theta, phi = _tiny_mlp()
  step = 0.05

  @jax.jit
  def both(theta, phi):
    after = jax.tree.map(
      lambda t, s: t - step * s, theta, jax.grad(lower)(theta, phi)
    )
    v = jax.tree.map(lambda s: step * s, jax.grad(upper)(after))

    def along(phi):
      slope = jax.grad(lower)(theta, phi)
      return -sum(jax.tree.leaves(jax.tree.map(jnp.vdot, v, slope)))

    explicit, info = hypergradient(
      lower, upper, theta, phi, solver="explicit", step_size=step
    )
    unrolled, _ = hypergradient(
      lower, upper, theta, phi, solver="unrolled", step_size=step, steps=1
    )
    return explicit, info, unrolled, jax.grad(along)(phi), v

  explicit, info, unrolled, expected, v = both(theta, phi)
  np.testing.assert_allclose(explicit, expected, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(explicit, unrolled, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(info.solution["w"], v["w"], rtol=1e-4, atol=1e-7)
  assert np.abs(explicit).max() > 0


def test_unrolled_and_neumann_tend_to_the_implicit_gradient():
  a = jnp.diag(jnp.array([1.0, 4.0]))

  def lower(t, p):
    return t @ a @ t / 2 - p @ t

  def upper(t):
    return jnp.array([2.0, 4.0]) @ t

  phi = jnp.ones(2)
  theta = jnp.array([1.0, 0.25])
  for name, few in (("unrolled", {"steps": 2}), ("neumann", {"maxiter": 2})):
    many = {key: 100 for key in few}
    errors = []
    for options in (few, many):
      gradient, _ = hypergradient(
        lower, upper, theta, phi, solver=name, step_size=0.2, **options
      )
      errors.append(np.abs(gradient - np.array([2.0, 1.0])).max())
    assert errors[1] < 1e-5 < errors[0]


def test_misuse_says_what_is_missing():
  lower, upper, _, theta, phi = _tiny_mlp()
  with pytest.raises(ValueError, match="not one of"):
    hypergradient(lower, upper, theta, phi, solver="bicg")
  with pytest.raises(ValueError, match="residuals"):
    hypergradient(lower, upper, theta, phi, solver="cg_gauss_newton")
  with pytest.raises(ValueError, match="step_size"):
    hypergradient(lower, upper, theta, phi, solver="explicit")
