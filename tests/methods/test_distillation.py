"""KD-Label and KD-Feature against their limits."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import methods, training
from bidfcl_jax.data.batches import epoch_rows, take_block
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.distillation import distilled_cells, refined
from bidfcl_jax.methods.method import to_money, to_scaled
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes, Samples

KEY = jax.random.key(6)


def _student(name, study, config):
  """Returns stage, state with a teacher of its own, aux and a first block."""
  method = methods.make(name, config)
  state = method.init(KEY, study)
  for number, stage in enumerate(method.stages):
    state = stage.enter(jax.random.fold_in(KEY, number), state, study)
  rows = epoch_rows(KEY, 600, stage.batch)[0]
  block = take_block(jax.tree.map(jnp.asarray, study.obs), jnp.asarray(rows))
  return stage, state, stage.fixed(state, study), block


def _run(stage, state, aux, block, steps):
  @jax.jit
  def many(state):
    def one(state, _):
      return stage.step(KEY, state, block, aux)[0], None

    return jax.lax.scan(one, state, None, length=steps)[0]

  return many(state)


@pytest.mark.parametrize(
  "name", ["KD-Label", pytest.param("KD-Feature", marks=pytest.mark.slow)]
)
def test_it_trains_and_predicts(name, tiny_study, tiny_config):
  config = tiny_config(obs__epochs=1, rct__epochs=1)
  method = methods.make(name, config)
  state, _ = training.fit(method, tiny_study, KEY, config)
  predicted = method.predict(state, tiny_study.rct_test.features)
  assert predicted.revenue.shape == (200, tiny_study.arms)
  assert np.isfinite(predicted.revenue).all()
  assert np.isfinite(predicted.cost).all()
  assert state.step == 5


def test_label_weight_0_is_tsm_sl_on_obs_to_the_bit(tiny_study, tiny_config):
  config = tiny_config(distill__label_weight=0.0)
  stage, state, aux, block = _student("KD-Label", tiny_study, config)
  plain = methods.make("TSM-SL-OBS", config).stages[0]
  # Streams go by the stage's name: order and initial weights are the same.
  assert (stage.name, stage.reads) == (plain.name, plain.reads)
  begun = plain.enter(jax.random.fold_in(KEY, 1), state, tiny_study)
  chex.assert_trees_all_equal(state.target, begun.target)
  new, _ = jax.jit(stage.step)(KEY, state, block, aux)
  other, _ = jax.jit(plain.step)(
    KEY, state, block, plain.fixed(state, tiny_study)
  )
  chex.assert_trees_all_equal(new.target, other.target)


def test_without_bound_the_student_is_the_teacher(tiny_study, tiny_config):
  config = tiny_config(
    network__hidden=(),
    distill__label_weight=1e6,
    obs__batch=600,
    obs__epochs=1000,
    obs__learning_rate=0.02,
    obs__schedule="cosine",
    obs__weight_decay=0.0,
  )
  stage, state, aux, block = _student("KD-Label", tiny_study, config)
  gap = state.target["head"]["kernel"] - state.teacher["head"]["kernel"]
  assert np.abs(gap).max() > 0.1
  end = _run(stage, state, aux, block, 1000)
  chex.assert_trees_all_close(end.target, state.teacher, atol=1e-3)


@pytest.mark.parametrize("form", ["init", "concat"])
def test_other_feature_forms_start_as_a_plain_factual_fit(
  form, tiny_study, tiny_config
):
  config = tiny_config(distill__feature_form=form)
  stage, state, aux, block = _student("KD-Feature", tiny_study, config)
  network = make_target(config.network)
  samples = to_scaled(jax.tree.map(lambda x: x[0], block.samples), state.scale)
  plain = network.apply(state.target, samples.features)
  new, metrics = jax.jit(stage.step)(KEY, state, block, aux)
  np.testing.assert_allclose(
    metrics["loss"][0], factual_loss(plain, samples), rtol=1e-5
  )
  same = np.array_equal(
    state.target["Dense_0"]["kernel"], state.teacher["Dense_0"]["kernel"]
  )
  assert same == (form == "init")
  if form == "concat":
    assert np.any(new.target["taught"]["kernel"])
    alone = to_money(network.apply(new.target, samples.features), state.scale)
    whole = stage.apply(new, samples.features)
    assert np.abs(whole.revenue - alone.revenue).max() > 1e-4
  chex.assert_trees_all_equal(new.teacher, state.teacher)


def test_feature_weight_0_steps_as_tsm_sl_on_obs(tiny_study, tiny_config):
  config = tiny_config(distill__feature_weight=0.0)
  stage, state, aux, block = _student("KD-Feature", tiny_study, config)
  plain = methods.make("TSM-SL-OBS", config).stages[0]
  new, _ = jax.jit(stage.step)(KEY, state, block, aux)
  other, _ = jax.jit(plain.step)(
    KEY, state, block, plain.fixed(state, tiny_study)
  )
  chex.assert_trees_all_close(new.target, other.target, rtol=1e-6)


def test_the_trunk_begins_as_the_teachers_and_the_output_layer_does_not(
  tiny_study, tiny_config
):
  _, state, _, _ = _student("KD-Feature", tiny_study, tiny_config())
  chex.assert_trees_all_equal(state.target["Dense_0"], state.teacher["Dense_0"])
  assert np.any(
    state.target["head"]["kernel"] != state.teacher["head"]["kernel"]
  )


def test_feature_weight_1_makes_the_hidden_layer_the_teachers(
  tiny_study, tiny_config
):
  config = tiny_config(
    distill__feature_weight=1.0,
    obs__learning_rate=0.03,
    obs__weight_decay=0.0,
    obs__batch=600,
  )
  stage, state, aux, block = _student("KD-Feature", tiny_study, config)
  network = make_target(config.network)
  other = network.init(jax.random.key(9), 12, tiny_study.arms)
  state = state.replace(target=other)

  def distance(state):
    mine, taught = (
      network.represent(params, block.samples.features[0])
      for params in (state.target, state.teacher)
    )
    return np.sqrt(np.mean((mine - taught) ** 2))

  assert distance(state) > 0.3
  end = _run(stage, state, aux, block, 1500)
  assert distance(end) < 1e-2
  # Nothing pulls at the output layer.
  chex.assert_trees_all_equal(end.target["head"], other["head"])


def test_distilled_cells_by_hand():
  mine = Outcomes(jnp.array([[1.0, 2.0], [9.0, 9.0]]), jnp.zeros((2, 2)))
  taught = Outcomes(jnp.zeros((2, 2)), jnp.full((2, 2), 2.0))
  weight = jnp.array([1.0, 0.0])

  def value(share, **options):
    return distilled_cells(KEY, mine, taught, weight, share=share, **options)

  assert value(1.0) == pytest.approx((1 + 4 + 4 + 4) / 4)
  assert value(1.0, learn_cost=False) == pytest.approx(2.5)
  assert value(0.0) == 0


def test_drawn_cells_estimate_the_mean_over_all():
  mine = Outcomes(
    jnp.arange(4000.0).reshape(1000, 4) / 4000, jnp.zeros(4000).reshape(1000, 4)
  )
  taught = jax.tree.map(jnp.zeros_like, mine)
  weight = jnp.ones(1000)
  values = [
    distilled_cells(jax.random.key(k), mine, taught, weight, share=0.5)
    for k in range(2)
  ]
  np.testing.assert_allclose(values, 1 / 6, rtol=0.05)
  assert values[0] != values[1]


def test_refined_labels_are_between_the_observed_and_the_taught():
  rows = Samples(
    jnp.zeros((2, 1)), jnp.array([0, 1]), jnp.array([4.0, 8.0]), jnp.ones(2)
  )
  taught = Outcomes(jnp.array([[0.0, 7.0], [7.0, 0.0]]), jnp.ones((2, 2)))
  new = refined(rows, taught, 0.25)
  np.testing.assert_allclose(new.revenue, [3, 6])
  perfect = Outcomes(jnp.array([[3.0, 0.0], [0.0, 6.0]]), jnp.ones((2, 2)))
  assert factual_loss(perfect, new) == 0


@pytest.mark.parametrize("name", ["KD-Label", "KD-Feature"])
def test_a_batch_of_padding_leaves_the_student_to_the_bit(
  name, tiny_study, tiny_config
):
  stage, state, aux, block = _student(name, tiny_study, tiny_config())
  padded = block._replace(
    samples=block.samples.replace(weight=0 * block.samples.weight)
  )
  still, _ = jax.jit(stage.step)(KEY, state, padded, aux)
  chex.assert_trees_all_equal(still, state)


def test_known_costs_are_not_learnt(tiny_study, tiny_config):
  study = tiny_study.replace(known_cost=np.arange(tiny_study.arms, dtype=float))
  for name in ("KD-Label", "KD-Feature"):
    stage, state, aux, block = _student(name, study, tiny_config())
    step = jax.jit(stage.step)
    wild = block._replace(
      samples=block.samples.replace(cost=1e3 * block.samples.cost)
    )
    one, _ = step(KEY, state, block, aux)
    two, _ = step(KEY, state, wild, aux)
    chex.assert_trees_all_equal(one.target, two.target)


def test_unknown_forms_are_refused(tiny_config):
  with pytest.raises(ValueError, match="distill.label_form='soft'"):
    methods.make("KD-Label", tiny_config(distill__label_form="soft"))
  with pytest.raises(ValueError, match="distill.feature_form='deep'"):
    methods.make("KD-Feature", tiny_config(distill__feature_form="deep"))
