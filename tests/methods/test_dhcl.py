"""DHCL: its Outcomes against an isotonic library and against invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from bidfcl_jax import allocation, methods, training
from bidfcl_jax.methods.dhcl import cost_order, nonincreasing

KEY = jax.random.key(3)


def two_arms(study):
  """Returns the study's rows of control and dearest arm."""

  def keep(samples):
    mine = (samples.arm == 0) | (samples.arm == study.arms - 1)
    rows = jax.tree.map(lambda x: x[mine], samples)
    return rows.replace(arm=(rows.arm > 0).astype(np.int32))

  parts = {
    name: keep(getattr(study, name))
    for name in ("obs", "rct_train", "rct_valid", "rct_test")
  }
  share = np.bincount(parts["rct_train"].arm) / len(parts["rct_train"])
  names = (study.arm_names[0], study.arm_names[-1])
  return study.replace(**parts, propensity=share, arm_names=names, truth=None)


def test_isotonic_steps_against_a_library():
  rng = np.random.default_rng(0)
  steps, weight = rng.normal(size=(30, 5)), rng.uniform(0.2, 2, size=5)
  got = nonincreasing(jnp.asarray(steps), jnp.asarray(weight))
  for mine, row in zip(got, steps, strict=True):
    best = scipy.optimize.isotonic_regression(
      row, weights=weight, increasing=False
    )
    np.testing.assert_allclose(mine, best.x, atol=1e-5)


def test_arms_by_mean_cost(tiny_study):
  rct = tiny_study.rct_train
  cost = np.array([5.0, 0.0, 3.0, 3.0, 9.0])
  study = tiny_study.replace(
    rct_train=rct.replace(cost=cost[rct.arm].astype(np.float32))
  )
  rank, ordered, _ = cost_order(study)
  np.testing.assert_array_equal(rank, [3, 0, 1, 2, 4])
  # Two arms of one cost are kept a thousandth of the mean step apart.
  np.testing.assert_allclose(np.diff(ordered), [3, 0.00225, 2, 4], rtol=1e-5)
  free = study.replace(rct_train=rct.replace(cost=0 * rct.cost))
  with pytest.raises(ValueError, match="all 5 arms cost 0"):
    cost_order(free)


def fitted(study, tiny_config, **options):
  config = tiny_config(dhcl__epochs=3, dhcl__batch=300, **options)
  method = methods.make("DHCL", config)
  state, _ = training.fit(method, study, KEY, config)
  return method, state


@pytest.fixture(scope="module")
def trained(tiny_study, tiny_config):
  return fitted(tiny_study, tiny_config)


def test_the_step_is_taken_while_its_return_pays(trained, tiny_study):
  method, state = trained
  # Returns of a network that no one trained hardly differ from 0.25: its head
  # is enlarged to see arms change.
  head = jax.tree.map(lambda leaf: 30 * leaf, state.target["head"])
  state = state.replace(target=state.target | {"head": head})
  outcomes = method.predict(state, tiny_study.rct_test.features)
  order = np.argsort(state.rank)
  slopes = np.diff(outcomes.revenue[:, order], axis=1) / np.diff(
    outcomes.cost[:, order], axis=1
  )
  assert np.all(np.diff(slopes, axis=1) <= 1e-4 * np.abs(slopes).max())
  price = float(np.median(slopes))
  arms = np.asarray(allocation.choose(outcomes, price))
  taken = np.asarray(state.rank)[arms]
  clear = (np.abs(slopes - price) > 1e-3 * price).all(axis=1)
  assert clear.sum() > 50
  np.testing.assert_array_equal(
    taken[clear], (slopes > price).sum(axis=1)[clear]
  )
  assert len(np.unique(taken)) > 1


def test_the_unit_of_revenue_changes_no_ranking(
  trained, tiny_study, tiny_config
):
  method, state = trained

  def times(samples):
    return samples.replace(revenue=8 * samples.revenue)

  scalers = tiny_study.scalers
  dear = tiny_study.replace(
    rct_train=times(tiny_study.rct_train),
    scalers=scalers.replace(revenue=8 * scalers.revenue),
  )
  _, other = fitted(dear, tiny_config)
  features = tiny_study.rct_test.features
  one, two = method.predict(state, features), method.predict(other, features)
  np.testing.assert_allclose(8 * one.revenue, two.revenue, rtol=1e-3)
  np.testing.assert_array_equal(one.cost, two.cost)


def test_two_arms_and_known_costs(tiny_study, tiny_config):
  study = two_arms(tiny_study).replace(known_cost=np.array([0.0, 2.0]))
  method, state = fitted(study, tiny_config)
  outcomes = method.predict(state, study.rct_test.features)
  np.testing.assert_array_equal(outcomes.cost[3], [0, 2])
  assert np.all(outcomes.revenue[:, 0] == 0)
  # sigmoid(s) / unit is the return; the effect is that times the cost.
  assert np.all(outcomes.revenue[:, 1] > 0)
  assert np.all(outcomes.revenue[:, 1] * state.unit < 2.0)
