"""Ensembles of trainings, each against what it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods.simple_rivals import KEY, entered, first_rows, untrained

from bidfcl_jax import methods, training
from bidfcl_jax.models import make_target


@pytest.fixture(scope="module")
def config(tiny_config):
  return tiny_config(simple__members=2, obs__epochs=1, finetune__epochs=1)


@pytest.fixture(scope="module")
def members(tiny_study, config):
  each = [untrained(k, tiny_study, config) for k in (1, 2)]
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def member(members, k):
  return jax.tree.map(lambda leaf: leaf[k], members)


def assert_equal(a, b):
  for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(one, two)


def test_each_member_is_trained_as_ft_and_put_aside(config):
  ft = [stage.name for stage in methods.make("FT", config).stages]
  names = [stage.name for stage in methods.make("FT-ENS", config).stages]
  second = [f"{name}-2" for name in ft]
  assert names == [*ft, "store-1", *second, "store-2"]


@pytest.mark.slow
def test_members_are_ft_and_another_of_its_own_streams(tiny_study, config):
  ens, ft = (
    training.fit(methods.make(name, config), tiny_study, KEY, config)[0]
    for name in ("FT-ENS", "FT")
  )
  assert_equal(member(ens.members, 0), ft.target)
  assert_equal(member(ens.members, 1), ens.target)
  for first, second in jax.tree.leaves(ens.members):
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["FT-ENS", "SEED-2"])
def test_an_ensemble_predicts_its_mean(name, tiny_study, config, members):
  method = methods.make(name, config)
  state = method.init(KEY, tiny_study).replace(members=members)
  features = tiny_study.rct_test.features[:7]
  network = make_target(config.network)
  one, two = (network.apply(member(members, k), features) for k in range(2))
  predicted = method.predict(state, features)
  for outcome in ("revenue", "cost"):
    mean = (getattr(one, outcome) + getattr(two, outcome)) / 2
    np.testing.assert_allclose(
      getattr(predicted, outcome),
      mean * getattr(state.scale, outcome),
      rtol=1e-5,
      atol=1e-6,
    )


def test_two_seeds_are_the_union_twice(config):
  names = [stage.name for stage in methods.make("SEED-2", config).stages]
  assert names == ["union", "store-1", "union-2", "store-2"]


def test_a_student_learns_its_teacher_and_no_outcome_of_obs(
  tiny_study, config, members
):
  method, state = entered("KD-FT", tiny_study, config, members=members)
  assert_equal(state.target, member(members, 0))
  stage = method.stages[-1]
  aux = stage.fixed(state, tiny_study)
  obs = tiny_study.obs
  wild = obs.replace(
    revenue=np.full_like(obs.revenue, 1e6), arm=np.zeros_like(obs.arm)
  )
  step = jax.jit(stage.step)

  def taught(samples, steps):
    block, now = first_rows(samples, 600), state
    for _ in range(steps):
      now, _ = step(KEY, now, block, aux)
    return now.target

  assert_equal(taught(obs, 2), taught(wild, 2))
  network = make_target(config.network)

  def gap(target):
    mine = network.apply(target, obs.features).revenue
    return float(np.mean((mine - aux.taught.revenue) ** 2))

  assert gap(taught(obs, 40)) < 0.9 * gap(state.target)
