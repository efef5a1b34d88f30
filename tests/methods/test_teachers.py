"""Teachers: members, folds, classes."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import methods, training
from bidfcl_jax.data.batches import Block
from bidfcl_jax.methods import teachers
from bidfcl_jax.methods.members import empty_members, mean_outcomes, store_stage
from bidfcl_jax.methods.method import Scale, State
from bidfcl_jax.methods.taught import TaughtState
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.types import Outcomes, Samples

KEY = jax.random.key(5)
# A "network" whose one parameter is what it predicts.
CONSTANT = Network(
  init=None,
  apply=lambda params, x: Outcomes(
    jnp.full((len(x), 2), params), jnp.zeros((len(x), 2))
  ),
  represent=None,
)


def rows(groups):
  n = len(groups)
  return Samples(
    jnp.zeros((n, 1)),
    jnp.zeros(n, jnp.int32),
    jnp.ones(n),
    jnp.ones(n),
    group=jnp.asarray(groups, jnp.int32),
  )


def test_members_are_put_aside_and_averaged():
  state = TaughtState(
    step=jnp.zeros((), jnp.int32),
    target=jnp.asarray(3.0),
    optimiser=None,
    scale=None,
    origins=None,
    members=empty_members(jnp.asarray(1.0), 2),
    pricing=None,
  )
  state = store_stage(1).enter(KEY, state, None)
  np.testing.assert_array_equal(state.members, [0.0, 3.0])
  mean = mean_outcomes(CONSTANT, state.members, jnp.zeros((4, 1)))
  np.testing.assert_array_equal(mean.revenue, 1.5)


def test_a_row_meets_the_member_that_did_not_see_it():
  samples = rows([0, 1, 2, 3, 3])
  scale = Scale(jnp.asarray(10.0), jnp.asarray(1.0))
  members = jnp.array([1.0, 2.0])
  crossed = teachers.taught_on_rct(
    CONSTANT, members, samples, scale, cross_fit=True
  )
  np.testing.assert_array_equal(crossed.revenue[:, 0], [10, 20, 10, 20, 20])
  plain = teachers.taught_on_rct(
    CONSTANT, members, samples, scale, cross_fit=False
  )
  np.testing.assert_array_equal(plain.revenue, 15)


def test_a_member_is_blind_to_its_fold(tiny_study, tiny_config):
  config = tiny_config(
    bilevel__teacher="ensemble", bilevel__cross_fit=True, simple__members=2
  )
  method = methods.make("Bi-DFCL-PPL", config)
  stages = {stage.name: stage for stage in method.stages}
  state = method.init(KEY, tiny_study)
  aux = stages["finetune"].fixed(state, tiny_study)
  samples = jax.tree.map(lambda x: jnp.asarray(x[:64]), tiny_study.rct_train)
  for name, fold in (("finetune", 0), ("finetune-2", 1)):
    for seen in (0, 1):
      block = Block(
        jax.tree.map(
          lambda x: x[None], samples.replace(group=jnp.full(64, seen))
        ),
        jnp.arange(64)[None],
      )
      new, _ = stages[name].step(KEY, state, block, aux)
      moved = not all(
        np.array_equal(a, b)
        for a, b in zip(
          jax.tree.leaves(new.target),
          jax.tree.leaves(state.target),
          strict=True,
        )
      )
      assert moved == (seen != fold), (name, seen)


def test_a_richer_teacher_lives_beside_the_served_target(tiny_config):
  config = tiny_config(
    "plus", network__hidden=(), teacher__own_class=False, teacher__hidden=(8,)
  )
  networks = teachers.make_networks(config)
  params = networks.target.init(KEY, 5, 3)
  x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.float32)

  def slopes(network):
    return jax.grad(lambda p: jnp.sum(network.apply(p, x).revenue))(params)

  served, teacher = slopes(networks.target), slopes(networks.teacher)
  assert "Dense_0" not in params.served
  assert "Dense_0" in params.teacher
  for leaf in jax.tree.leaves((served.teacher, teacher.served)):
    np.testing.assert_array_equal(leaf, 0)
  own = dataclasses.replace(config.teacher, own_class=True)
  both = teachers.make_networks(dataclasses.replace(config, teacher=own))
  assert both.target is both.teacher


@pytest.mark.parametrize(
  ("options", "names"),
  [
    ({"bilevel__teacher": "rct"}, ["rct", "store-1"]),
    ({"bilevel__teacher": "finetuned"}, ["obs", "finetune", "store-1"]),
    (
      {"bilevel__teacher": "rct", "bilevel__start": "finetuned"},
      ["rct", "store-1", "obs", "finetune"],
    ),
    (
      {"bilevel__start": "finetuned"},
      ["obs", "finetune", "store-1"],
    ),
  ],
)
def test_stages_of_teacher_and_start(options, names, tiny_config):
  method = methods.make("Bi-DFCL-PPL", tiny_config(**options))
  found = [stage.name for stage in method.stages]
  assert found == [*names, "warm", "bilevel"]


def test_the_target_may_start_at_the_first_member(tiny_study, tiny_config):
  config = tiny_config("plus", simple__members=2, teacher__own_class=True)
  method = methods.make("Bi-DFCL-PPL", config)
  state = method.init(KEY, tiny_study)
  first = method.init(jax.random.key(9), tiny_study).target
  members = jax.tree.map(
    lambda stack, leaf: stack.at[0].set(leaf), state.members, first
  )
  warm = method.stages[-2]
  entered = warm.enter(KEY, state.replace(members=members), tiny_study)
  chex.assert_trees_all_equal(entered.target, first)
  assert isinstance(entered, State)


def test_labels_between_the_teacher_and_what_obs_says(tiny_study, tiny_config):
  config = tiny_config(
    bilevel__bridge="additive",
    bilevel__teacher="ensemble",
    bilevel__teacher_share=0.25,
    simple__members=2,
  )
  method = methods.make("FROZEN", config)
  names = [stage.name for stage in method.stages]
  assert names[:3] == ["obs", "store-origins-1", "finetune"]
  first = names.index("warm")
  teacher = method._replace(stages=method.stages[:first])
  state, _ = training.fit(teacher, tiny_study, KEY, config)
  plain = methods.make("TSM-SL-OBS", config)
  alone, _ = training.fit(plain, tiny_study, KEY, config)
  chex.assert_trees_all_equal(
    alone.target, jax.tree.map(lambda x: x[0], state.origins)
  )
  aux = method.stages[first].fixed(state, tiny_study)
  network = make_target(config.network)
  obs = tiny_study.obs
  models = [
    network.apply(
      jax.tree.map(lambda x, k=k: x[k], state.origins), obs.features
    )
    for k in range(2)
  ]
  seen = np.arange(tiny_study.arms) == np.asarray(obs.arm)[:, None]
  for name in ("revenue", "cost"):
    said = np.mean([getattr(model, name) for model in models], axis=0)
    own = getattr(obs, name) / getattr(tiny_study.scalers, name)
    said = np.where(seen, own[:, None], said)
    expected = 0.25 * getattr(aux.taught, name) + 0.75 * said
    np.testing.assert_allclose(
      getattr(aux.labels, name), expected, rtol=2e-5, atol=1e-5
    )
  taught, labels = aux.at(jnp.arange(3))
  assert not np.array_equal(taught.revenue, labels.revenue)


def test_gates_have_no_share_of_the_teacher(tiny_config):
  config = tiny_config(bilevel__teacher_share=0.5)
  with pytest.raises(ValueError, match="bilevel.bridge=additive, not gates"):
    methods.make("Bi-DFCL-PPL", config)
  assert methods.make("DIRECT", config).stages
  assert methods.make("KD-FT", config).stages
  with pytest.raises(ValueError, match="began on OBS"):
    tiny_config(bilevel__teacher_share=0.5, bilevel__teacher="rct")
