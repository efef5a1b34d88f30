import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision_rows import rows

from bidfcl_jax import losses
from bidfcl_jax.evaluation import eom_core
from bidfcl_jax.losses.value import policy_value
from bidfcl_jax.types import Outcomes, Samples

HALF = jnp.array([0.5, 0.5])


def one_row(revenue=1.0, cost=0.0, arm=1):
  return Samples(
    jnp.zeros((1, 1)),
    jnp.array([arm]),
    jnp.array([revenue]),
    jnp.array([cost]),
  )


def test_fc_11_value_and_gradients_of_ppl():
  def loss(revenue, cost):
    return losses.ppl(
      Outcomes(revenue, cost),
      one_row(),
      HALF,
      price=0.2,
      temperature=1.0,
    )

  zeros = jnp.zeros((1, 2))
  assert loss(zeros, zeros) == pytest.approx(-1.0)
  by_revenue, by_cost = jax.grad(loss, argnums=(0, 1))(zeros, zeros)
  np.testing.assert_allclose(by_revenue, [[0.5, -0.5]], rtol=1e-6)
  assert by_cost[0, 1] == pytest.approx(0.1)


@pytest.mark.parametrize("scores", [(0.2, 0.5), (0.5, 0.2)])
def test_fc_11_pifd_coefficients(scores):
  g = losses.pifd_coefficients(
    jnp.array([scores]), one_row(), HALF, gap_floor=1e-6
  )
  np.testing.assert_allclose(g, [[1 / 0.15, -1 / 0.15]], rtol=1e-4)


def _hard(scores, unit, arm):
  return -sum(
    unit[i] for i in range(len(arm)) if np.argmax(scores[i]) == arm[i]
  )


@pytest.mark.parametrize("arms", [2, 3, 5])
def test_exact_coefficients_are_the_smallest_decisive_change(arms):
  outcomes, samples, share = rows(30, arms)
  scores = np.asarray(outcomes.score(0.3), np.float64)
  arm = np.asarray(samples.arm)
  unit = np.asarray(samples.revenue, np.float64) * arms / 30
  g = losses.pifd_coefficients(
    jnp.asarray(scores), samples, share, gap_floor=1e-9, argmax="exact"
  )
  base = _hard(scores, unit, arm)
  for i in range(30):
    order = np.sort(scores[i])
    for j in range(arms):
      best = scores[i, j] == order[-1]
      gap = order[-2] - scores[i, j] if best else order[-1] - scores[i, j]
      moved = scores.copy()
      moved[i, j] += gap * (1 + 1e-6)
      slope = (_hard(moved, unit, arm) - base) / gap
      assert float(g[i, j]) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_small_temperature_is_the_hard_loss():
  outcomes, samples, share = rows(500, 3)
  soft = losses.ppl(outcomes, samples, share, price=0.4, temperature=1e-5)
  hard = jax.nn.one_hot(jnp.argmax(outcomes.score(0.4), axis=1), 3)
  value, _ = policy_value(hard, samples, share)
  assert soft == pytest.approx(-float(value), rel=1e-5)


def test_primal_and_dual_coincide_at_price_zero():
  data = rows(50, 4)
  a = losses.ppl(*data, price=0.0, temperature=0.7)
  assert a == losses.dpl(*data, price=0.0, temperature=0.7)
  b = losses.pifd(*data, price=0.0, gap_floor=0.1)
  assert b == losses.difd(*data, price=0.0, gap_floor=0.1)


@pytest.mark.parametrize("temperature", [1e-3, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_fc_12_finite_at_the_edges(temperature, scale):
  outcomes, samples, share = rows(40, 3)
  outcomes = jax.tree.map(lambda x: scale * x, outcomes)

  def policy(o):
    return losses.ppl(o, samples, share, price=0.5, temperature=temperature)

  def finite_difference(o):
    return losses.pifd(o, samples, share, price=0.5, gap_floor=0.1)

  for loss in (policy, finite_difference):
    value, gradient = jax.jit(jax.value_and_grad(loss))(outcomes)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
  g = losses.pifd_coefficients(
    outcomes.score(0.5), samples, share, gap_floor=0.1
  )
  bound = np.asarray(samples.revenue) * 3 / 40 / 0.1
  assert (np.abs(g) <= bound[:, None] * (1 + 1e-5)).all()


def test_fc_12_no_outcomes_no_signal():
  outcomes, samples, share = rows(40, 3)
  zero = samples.replace(revenue=0 * samples.revenue)

  def policy(o):
    return losses.ppl(o, zero, share, price=0.5, temperature=1.0)

  def finite_difference(o):
    return losses.pifd(o, zero, share, price=0.5, gap_floor=0.1)

  for loss in (policy, finite_difference):
    value, gradient = jax.jit(jax.value_and_grad(loss))(outcomes)
    assert value == 0
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(gradient))


def test_fc_02_batches_with_whole_set_shares_average_to_the_whole():
  rng = np.random.default_rng(1)
  arm = rng.permutation(np.repeat([0, 1], [850, 150])).astype(np.int32)
  samples = Samples(
    np.zeros((1000, 1)), arm, rng.gamma(1.0, 1.0, 1000), np.zeros(1000)
  )
  outcomes = Outcomes(rng.normal(size=(1000, 2)), np.zeros((1000, 2)))
  share = jnp.array([0.85, 0.15])

  def loss(o, s):
    return losses.ppl(o, s, share, price=0.0, temperature=1.0)

  slope = jax.jit(jax.value_and_grad(loss))
  whole, parts = loss(outcomes, samples), []
  for start in range(0, 1000, 8):
    cut = slice(start, start + 8)
    piece = jax.tree.map(lambda x, cut=cut: x[cut], (outcomes, samples))
    value, gradient = slope(*piece)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
    parts.append(float(value))
  assert len(parts) == 125
  assert np.mean(parts) == pytest.approx(float(whole), rel=1e-6)


def test_total_price_gradient_is_that_of_the_budgeted_objective():
  with jax.enable_x64(True):
    rng = np.random.default_rng(3)
    n, arms, tau = 4000, 3, 0.3
    x = rng.normal(size=(n, 4))
    lift = np.linspace(0, 1, arms)
    truth_r = jnp.asarray(
      1 + lift * np.exp(0.5 * x[:, :1]) + 0.5 * lift**0.5 * x[:, 1:2] ** 2
    )
    truth_c = jnp.asarray(lift * (0.5 + np.abs(x[:, 2:3])))
    x = jnp.asarray(x)
    theta = jnp.asarray(0.3 * rng.normal(size=(4, 2 * arms)))
    base_c = jnp.asarray(lift) * 0.8

    def predicted(theta):
      cells = x @ theta
      return Outcomes(cells[:, :arms], base_c + 0.3 * cells[:, arms:])

    @jax.jit
    def value(theta, price):
      z = losses.soft_policy(predicted(theta).score(price), tau)
      return jnp.mean(jnp.sum(z * truth_r, 1)), jnp.mean(
        jnp.sum(z * truth_c, 1)
      )

    budget = value(theta, 0.3)[1]

    def solved(theta):
      low, high = -5.0, 5.0
      for _ in range(60):
        middle = (low + high) / 2
        over = value(theta, middle)[1] > budget
        low, high = (middle, high) if over else (low, middle)
      return (low + high) / 2

    # Every arm of every individual observed once: no sampling noise.
    arm = jnp.tile(jnp.arange(arms), n)
    spread = jax.tree.map(lambda a: jnp.repeat(a, arms, 0), predicted(theta))
    full = Samples(
      jnp.zeros((n * arms, 1)), arm, truth_r.ravel(), truth_c.ravel()
    )
    share = jnp.full(arms, 1 / arms)
    mu = losses.marginal_price(spread, full, share, price=0.3, temperature=tau)

    def loss(theta):
      outcomes = jax.tree.map(
        lambda a: jnp.repeat(a, arms, 0), predicted(theta)
      )
      return losses.policy_loss(
        outcomes, full, share, price=0.3, temperature=tau, reward_price=mu
      )

    gradient = np.asarray(jax.grad(loss)(theta)).ravel()
    step, differences = 1e-4, []
    for k in range(theta.size):
      shift = jnp.zeros(theta.size).at[k].set(step).reshape(theta.shape)
      ends = [
        -float(value(t, solved(t))[0]) for t in (theta + shift, theta - shift)
      ]
      differences.append((ends[0] - ends[1]) / (2 * step))
    cosine = (
      gradient
      @ differences
      / (np.linalg.norm(gradient) * np.linalg.norm(differences))
    )
    assert cosine > 0.999


def test_paper_coefficients_push_a_mismatched_best_arm_in_every_row():
  scores = jnp.array([[0.0, 1.0, 3.0]])
  cells = {
    argmax: losses.pifd_coefficients(
      scores, one_row(arm=0), jnp.ones(3) / 3, gap_floor=1e-6, argmax=argmax
    )
    for argmax in ("paper", "exact")
  }
  # u = 3 and the gap is 3; arm 1 lies between, so that lowering arm 2 to it
  # does not change the value of a row that received arm 0.
  np.testing.assert_allclose(cells["paper"], [[-1.0, 0.0, 1.0]], rtol=1e-6)
  np.testing.assert_allclose(cells["exact"], [[-1.0, 0.0, 0.0]], rtol=1e-6)


def test_the_window_replaces_the_gap_by_a_constant_slope():
  g = losses.pifd_coefficients(
    jnp.array([[0.0, 1.0, 3.0]]),
    one_row(arm=2),
    jnp.ones(3) / 3,
    gap_floor=1e-6,
    window=2.5,
  )
  np.testing.assert_allclose(g, [[0.0, 3 / 2.5, -3 / 2.5]], rtol=1e-6)


def test_plugin_loss_is_the_teachers_expected_reward():
  outcomes, samples, _ = rows(30, 3)
  labels, _, _ = rows(30, 3, seed=1)
  weight = samples.weight.at[20:].set(0.0)
  loss = losses.plugin_policy_loss(
    outcomes, labels, weight, price=0.4, temperature=0.5, reward_price=0.2
  )
  scores = np.asarray(outcomes.score(0.4), np.float64)[:20] / 0.5
  policy = np.exp(scores - scores.max(1, keepdims=True))
  policy /= policy.sum(1, keepdims=True)
  reward = np.asarray(labels.revenue - 0.2 * labels.cost)[:20]
  assert loss == pytest.approx(-np.mean((policy * reward).sum(1)), rel=1e-5)


@pytest.mark.parametrize("exact", [True, False])
def test_fc_11_the_hard_estimator_has_no_gradient(exact):
  outcomes, samples, share = rows(40, 3)

  @jax.jit
  @jax.value_and_grad
  def hard(o):
    return -eom_core(o, samples, share, jnp.float32(1.5), exact=exact).revenue

  value, gradient = hard(outcomes)
  assert value < 0
  assert hard(jax.tree.map(lambda y: y[::-1], outcomes))[0] != value
  for leaf in jax.tree.leaves(gradient):
    np.testing.assert_array_equal(leaf, 0)


def test_unknown_words_are_refused():
  data = rows(5, 3)
  with pytest.raises(ValueError, match="argmax"):
    losses.pifd(*data, price=0.0, gap_floor=0.1, argmax="best")
  with pytest.raises(ValueError, match="multiplier"):
    losses.pifd(*data, price=0.0, gap_floor=0.1, multiplier="hard")
