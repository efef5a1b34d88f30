import numpy as np
import pytest

from bidfcl_jax.evaluation.constant import constant_policies
from bidfcl_jax.evaluation.power import (
  budget_mix,
  detectable,
  noise,
  rows_needed,
)
from bidfcl_jax.types import Samples


def rows(arm, revenue, cost=None):
  cost = np.zeros(len(arm)) if cost is None else cost
  return Samples.create(np.zeros((len(arm), 1)), arm, revenue, cost)


def test_relative_error_is_the_simulator_pages_formula():
  # Every arm with the same outcomes; declared shares.
  base = np.array([0.0, 1.0, 2.0, 7.0])
  arm, revenue = np.repeat(np.arange(5), 4), np.tile(base, 5)
  found = noise(
    rows(arm, revenue), [0.1, 0.2, 0.3, 0.4, 0], propensity=[0.2] * 5
  )
  cv2 = base.var() / base.mean() ** 2
  assert found.value == pytest.approx(base.mean())
  assert found.sd / found.value == pytest.approx(np.sqrt(5 * (1 + cv2) - 1))


def test_one_arm_for_all_has_the_error_of_that_arms_mean():
  rng = np.random.default_rng(0)
  arm, revenue = rng.integers(0, 3, 300), rng.exponential(2, 300)
  samples = rows(arm, revenue)
  found = noise(samples, [0, 1, 0])
  own = np.asarray(samples.revenue, float)[arm == 1]
  assert found.sd / np.sqrt(300) == pytest.approx(own.std() / len(own) ** 0.5)
  assert found.sd_difference == 0


def test_households_double_the_variance_of_identical_twins():
  rng = np.random.default_rng(1)
  arm, revenue = rng.integers(0, 2, 200), rng.exponential(2, 200)
  single = noise(rows(arm, revenue), [0.5, 0.5])
  twins = noise(
    rows(np.repeat(arm, 2), np.repeat(revenue, 2)),
    [0.5, 0.5],
    np.repeat(np.arange(200), 2),
  )
  assert twins.value == pytest.approx(single.value)
  assert twins.sd**2 == pytest.approx(2 * single.sd**2)
  assert twins.sd_difference**2 == pytest.approx(2 * single.sd_difference**2)


@pytest.mark.parametrize("disagree", [0.25, 1.0])
def test_noise_matches_repeated_experiments(disagree):
  rng = np.random.default_rng(2)
  mix, shares = np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.25, 0.25])
  n, scale = 400, np.array([1.0, 2.0, 3.0])
  pairs = [(j, k) for j in range(3) for k in range(3) if j != k]
  chance = np.array([mix[j] * mix[k] for j, k in pairs])
  chance /= chance.sum()

  def trial(size):
    arm = rng.choice(3, size, p=shares)
    return arm, rng.exponential(scale[arm])

  predicted = noise(rows(*trial(200_000)), mix)
  value, difference = [], []
  for _ in range(3000):
    arm, revenue = trial(n)
    counted = np.bincount(arm, minlength=3)[arm]
    first = rng.choice(3, n, p=mix)
    value.append(np.sum((first == arm) * revenue / counted))
    one, two = np.array(pairs)[rng.choice(6, n, p=chance)].T
    differs = rng.random(n) < disagree
    signed = differs * ((one == arm) * 1.0 - (two == arm))
    difference.append(np.sum(signed * revenue / counted))
  assert np.mean(value) == pytest.approx(predicted.value, rel=0.02)
  assert np.std(value) * n**0.5 == pytest.approx(predicted.sd, rel=0.05)
  assert np.std(difference) * n**0.5 == pytest.approx(
    predicted.sd_difference * disagree**0.5, rel=0.05
  )


def test_detectable_difference_is_found_four_times_in_five():
  assert detectable(10.0, 100) == pytest.approx(2.8015852)
  rng = np.random.default_rng(3)
  delta = detectable(10.0, 400)
  z = rng.normal(delta, 10 / 20, 20_000) / (10 / 20)
  assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.8, abs=0.01)
  needed = rows_needed(10.0, delta)
  assert needed in (400, 401)
  assert rows_needed(10.0, 0.0) == np.inf


def test_budget_mix_spends_the_budget_and_is_the_random_row():
  arm = np.tile([0, 1, 2], 50)
  samples = rows(arm, arm + 1.0, arm * 1.0)
  for budget in (0.4, 1.0, 1.5):
    mix = budget_mix(samples, budget, 3)
    assert mix.sum() == pytest.approx(1)
    assert mix @ [0, 1, 2] == pytest.approx(budget)
    random = constant_policies(samples, budget, arms=3).random
    assert mix @ [1, 2, 3] == pytest.approx(float(random.revenue))
  np.testing.assert_allclose(budget_mix(samples, 5.0, 3), 1 / 3)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda s: noise(s, [0.5, 0.6]), "mix .* adding up"),
    (lambda s: detectable(1.0, 0), "rows=0"),
    (lambda s: detectable(1.0, 5, power=1.0), "power=1.0"),
    (lambda s: rows_needed(1.0, 1.0, level=0.0), "level=0.0"),
  ],
)
def test_misuse_is_refused(call, message):
  with pytest.raises(ValueError, match=message):
    call(rows([0, 1], [1.0, 2.0]))
