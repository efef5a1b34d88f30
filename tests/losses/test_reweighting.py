import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.losses import factual_loss
from bidfcl_jax.losses.reweighting import doubly_robust_loss, reweighted_loss
from bidfcl_jax.types import Outcomes, Samples

N, M = 9, 3


def rows(seed=0):
  rng = np.random.default_rng(seed)
  predicted = Outcomes(*jnp.asarray(rng.normal(size=(2, N, M))))
  money = jnp.asarray(rng.normal(size=(2, N)))
  arm = jnp.asarray(rng.integers(0, M, N))
  return predicted, Samples(jnp.zeros((N, 1)), arm, *money)


@pytest.mark.parametrize("normalise", ["self", "plain"])
def test_a_constant_propensity_leaves_tsm_sl(normalise):
  predicted, samples = rows()
  weight = jnp.full(N, 5.0 if normalise == "self" else 1.0)
  slope = jax.grad(reweighted_loss)(
    predicted, samples, weight, normalise=normalise
  )
  wanted = jax.grad(factual_loss)(predicted, samples)
  np.testing.assert_allclose(slope.revenue, wanted.revenue, rtol=1e-5)
  np.testing.assert_allclose(slope.cost, wanted.cost, rtol=1e-5)


def test_plain_divides_by_the_rows():
  predicted, samples = rows()
  weight = jnp.arange(1.0, N + 1)
  at = np.arange(N), np.asarray(samples.arm)
  error = (predicted.revenue[at] - samples.revenue) ** 2
  error += (predicted.cost[at] - samples.cost) ** 2
  plain = reweighted_loss(predicted, samples, weight, normalise="plain")
  assert plain == pytest.approx(float(np.mean(weight * error)), rel=1e-5)
  own = reweighted_loss(predicted, samples, weight)
  total = float(np.sum(weight * error) / weight.sum())
  assert own == pytest.approx(total, rel=1e-5)


def test_known_propensities_find_the_mean_of_each_arm():
  rng = np.random.default_rng(1)
  size = 200_000
  x = rng.normal(size=size)
  share = 1 / (1 + np.exp(-x))
  arm = (rng.random(size) < share).astype(np.int32)
  revenue = np.where(arm == 1, 2 + x, x)
  propensity = np.where(arm == 1, share, 1 - share)
  samples = Samples(np.zeros((size, 1)), arm, revenue, np.zeros(size))
  samples = jax.tree.map(jnp.asarray, samples)

  def slope(weight):
    def loss(column):
      cells = jnp.broadcast_to(column, (size, 2))
      return reweighted_loss(Outcomes(cells, 0 * cells), samples, weight)

    # The loss is quadratic in a constant column: one Newton step solves it.
    zero = jnp.zeros(2)
    slope, curvature = jax.jit(
      lambda x: (jax.grad(loss)(x), jax.hessian(loss)(x))
    )(zero)
    return -slope / jnp.diag(curvature)

  np.testing.assert_allclose(slope(1 / propensity), [0, 2], atol=0.03)
  naive = slope(jnp.ones(size))
  assert naive[0] < -0.3 and naive[1] > 2.3


def test_the_value_is_doubly_robust():
  rng = np.random.default_rng(0)
  size = 400_000
  x = rng.normal(size=size)
  odds = np.exp(np.stack([0 * x, x, -x], axis=1))
  share = odds / odds.sum(axis=1, keepdims=True)
  arm = (rng.random((size, 1)) > share.cumsum(axis=1)).sum(axis=1)
  truth = np.stack([x, 1 + x, 2 - x], axis=1)
  at = np.arange(size), arm
  samples = Samples(
    jnp.zeros((size, 1)),
    jnp.asarray(arm),
    jnp.asarray(truth[at]),
    jnp.zeros(size),
  )
  zero = jnp.zeros((size, M))

  def value(labels, propensity):
    return float(
      doubly_robust_loss(
        Outcomes(zero, zero),
        Outcomes(jnp.asarray(labels), zero),
        samples,
        jnp.asarray(1 / propensity),
        learn_cost=False,
      )
    )

  wanted = (truth**2).sum(axis=1).mean()
  # Of x^2, (1 + x)^2, (2 - x)^2; baselines.md 3.3 draws 8.017 and 12.99.
  assert wanted == pytest.approx(8, abs=0.03)
  third = np.full(size, 1 / M)
  assert value(truth, third) == pytest.approx(wanted, rel=1e-4)
  assert value(np.ones_like(truth), share[at]) == pytest.approx(
    wanted, abs=0.05
  )
  naive = M * (truth[at] ** 2).mean()
  assert value(np.zeros_like(truth), third) == pytest.approx(naive, rel=1e-4)
  assert naive == pytest.approx(13, abs=0.1)


def test_imputed_labels_move_unseen_cells_only_by_themselves():
  predicted, samples = rows()
  imputed, _ = rows(seed=2)
  slope = jax.grad(doubly_robust_loss)(predicted, imputed, samples, jnp.ones(N))
  # With weight 1 the observed outcome replaces the imputed one.
  labels = jax.tree.map(
    lambda cells, seen: cells.at[jnp.arange(N), samples.arm].set(seen),
    imputed,
    Outcomes(samples.revenue, samples.cost),
  )
  for name in ("revenue", "cost"):
    gap = getattr(predicted, name) - getattr(labels, name)
    np.testing.assert_allclose(getattr(slope, name), 2 / N * gap, atol=1e-6)


@pytest.mark.parametrize("loss", ["ips", "dr"])
def test_padding_and_known_costs_count_nothing(loss):
  predicted, samples = rows()
  inverse = jnp.arange(1.0, N + 1)

  def value(predicted, samples, learn_cost=True):
    if loss == "ips":
      return reweighted_loss(predicted, samples, inverse, learn_cost=learn_cost)
    imputed, _ = rows(seed=2)
    return doubly_robust_loss(
      predicted, imputed, samples, inverse, learn_cost=learn_cost
    )

  assert not jax.grad(value)(predicted, samples, learn_cost=False).cost.any()
  padded = samples.replace(weight=samples.weight.at[3:].set(0))
  slope = jax.grad(value)(predicted, padded)
  assert not slope.revenue[3:].any() and slope.revenue[:3].any()
  empty = samples.replace(weight=jnp.zeros(N))
  assert value(predicted, empty) == 0
  assert not jax.grad(value)(predicted, empty).revenue.any()


def test_unknown_normalisation_is_named():
  predicted, samples = rows()
  with pytest.raises(ValueError, match="'mean' is not one of"):
    reweighted_loss(predicted, samples, jnp.ones(N), normalise="mean")
