"""Ensembles of trainings, each against what it is made of."""

import jax
import numpy as np
import pytest

from bidfcl_jax import methods, training
from bidfcl_jax.models import make_target

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def config(tiny_config):
  return tiny_config(simple__members=2, training__checkpoint="valid_mse")


@pytest.fixture(scope="module")
def fitted(tiny_study, config):
  """Returns name -> (method, fitted state); each is trained once."""
  done = {}

  def get(name):
    if name not in done:
      method = methods.make(name, config)
      done[name] = method, training.fit(method, tiny_study, KEY, config)[0]
    return done[name]

  return get


def member(state, k):
  return jax.tree.map(lambda leaf: leaf[k], state.members)


def assert_equal(a, b):
  for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(one, two)


def test_members_are_ft_and_another_of_its_own_streams(fitted):
  _, ens = fitted("FT-ENS")
  _, ft = fitted("FT")
  assert_equal(member(ens, 0), ft.target)
  assert_equal(member(ens, 1), ens.target)
  for first, second in jax.tree.leaves(ens.members):
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["FT-ENS", "SEED-2"])
def test_an_ensemble_predicts_its_mean(name, fitted, tiny_study, config):
  method, state = fitted(name)
  features = tiny_study.rct_test.features[:7]
  network = make_target(config.network)
  one, two = (network.apply(member(state, k), features) for k in range(2))
  predicted = method.predict(state, features)
  for outcome in ("revenue", "cost"):
    mean = (getattr(one, outcome) + getattr(two, outcome)) / 2
    np.testing.assert_allclose(
      getattr(predicted, outcome),
      mean * getattr(state.scale, outcome),
      rtol=1e-5,
      atol=1e-6,
    )


def test_first_seed_is_the_union(fitted):
  assert_equal(member(fitted("SEED-2")[1], 0), fitted("TSM-SL-BOTH")[1].target)


def test_a_student_reads_no_outcome_of_obs_and_nears_its_teacher(
  fitted, tiny_study, config
):
  method, state = fitted("KD-FT")
  stage = method.stages[-1]
  assert_equal(state.members, fitted("FT-ENS")[1].members)
  wild = tiny_study.obs.replace(
    revenue=np.full_like(tiny_study.obs.revenue, 1e6),
    arm=np.zeros_like(tiny_study.obs.arm),
  )
  # The student's stage alone, from trained teachers.
  student = method._replace(stages=(stage,), init=lambda key, study: state)
  one, two = (
    training.fit(student, study, KEY, config)[0].target
    for study in (tiny_study, tiny_study.replace(obs=wild))
  )
  assert_equal(one, two)
  features = tiny_study.obs.features[:200]
  network = make_target(config.network)
  taught = [network.apply(member(state, k), features) for k in range(2)]
  mean = (taught[0].revenue + taught[1].revenue) / 2

  def gap(target):
    mine = network.apply(target, features).revenue
    return float(np.mean((mine - mean) ** 2))

  assert gap(state.target) < gap(member(state, 0))
