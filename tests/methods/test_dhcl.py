"""DHCL: its Outcomes against an isotonic library and against invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from methods.paired import many_steps
from methods.simple_rivals import KEY, first_rows

from bidfcl_jax import allocation, methods
from bidfcl_jax.methods.dhcl import cost_order, nonincreasing


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


def enlarged(state):
  """Returns the state with a head that tells the arms apart."""
  head = jax.tree.map(lambda leaf: 30 * leaf, state.target["head"])
  return state.replace(target=state.target | {"head": head})


@pytest.fixture(scope="module")
def method(tiny_config):
  return methods.make("DHCL", tiny_config(dhcl__batch=300))


def test_the_step_is_taken_while_its_return_pays(method, tiny_study):
  state = enlarged(method.init(KEY, tiny_study))
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


def test_constant_features_learn_the_mean_effects(tiny_study, tiny_config):
  """Arms of unequal shares, whose order by cost is not its own inverse."""
  counts = np.array([30, 60, 90, 120])
  revenue = np.array([3.7, 3.95, 3.0, 3.9])
  cost = np.array([0.9, 1.7, 0.0, 1.3])
  arm = np.repeat(np.arange(4, dtype=np.int32), counts)
  study = tiny_study.replace(
    rct_train=tiny_study.rct_train.replace(
      features=np.ones_like(tiny_study.rct_train.features),
      arm=arm,
      revenue=revenue[arm].astype(np.float32),
      cost=cost[arm].astype(np.float32),
    ),
    propensity=counts / counts.sum(),
  )
  config = tiny_config(
    network__hidden=(), dhcl__l2=0.0, dhcl__learning_rate=0.02
  )
  method = methods.make("DHCL", config)
  state, stage = method.init(KEY, study), method.stages[0]
  aux, block = stage.fixed(state, study), first_rows(study.rct_train, 300)
  state = many_steps(stage, state, aux, block, 500)
  outcomes = jax.jit(method.predict)(state, study.rct_train.features[:1])
  np.testing.assert_allclose(outcomes.revenue[0], revenue - 3.0, atol=1e-3)
  np.testing.assert_allclose(outcomes.cost[0], cost, rtol=1e-5)


def test_the_unit_of_revenue_changes_no_ranking(method, tiny_study):
  def times(samples):
    return samples.replace(revenue=8 * samples.revenue)

  scalers = tiny_study.scalers
  dear = tiny_study.replace(
    rct_train=times(tiny_study.rct_train),
    scalers=scalers.replace(revenue=8 * scalers.revenue),
  )
  stage = method.stages[0]
  step = jax.jit(stage.step)
  features = tiny_study.rct_test.features
  predicted = []
  for study in (tiny_study, dear):
    state = stage.enter(KEY, method.init(KEY, study), study)
    block = first_rows(study.rct_train, 300)
    before = state.target
    state, metrics = step(KEY, state, block, stage.fixed(state, study))
    assert np.isfinite(metrics["loss"]).all()
    assert not np.array_equal(
      before["head"]["kernel"], state.target["head"]["kernel"]
    )
    predicted.append(method.predict(state, features))
  one, two = predicted
  np.testing.assert_allclose(8 * one.revenue, two.revenue, rtol=1e-3)
  np.testing.assert_array_equal(one.cost, two.cost)


def test_no_checkpoint_is_chosen_by_an_error_that_it_has_not(tiny_config):
  with pytest.raises(ValueError, match="take ema_last or valid_eom"):
    methods.make("DHCL", tiny_config(training__checkpoint="valid_mse"))
  methods.make("DHCL", tiny_config(training__checkpoint="valid_eom"))


def test_two_arms_and_known_costs(method, tiny_study):
  study = two_arms(tiny_study).replace(known_cost=np.array([0.0, 2.0]))
  state = enlarged(method.init(KEY, study))
  outcomes = method.predict(state, study.rct_test.features)
  np.testing.assert_array_equal(outcomes.cost[3], [0, 2])
  assert np.all(outcomes.revenue[:, 0] == 0)
  # sigmoid(s) / unit is the return; the effect is that times the cost.
  ratio = outcomes.revenue[:, 1] * state.unit / 2.0
  assert np.all((ratio >= 0) & (ratio <= 1 + 1e-6)) and np.std(ratio) > 0.01
