import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import data, methods, training
from bidfcl_jax.data.batches import Block, epoch_rows, take_block
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.method import to_scaled
from bidfcl_jax.training.checkpoints import Checkpoints, Position
from bidfcl_jax.training.epochs import (
  averaged_target,
  epoch_scan,
  start_stage,
)

KEY = jax.random.key(7)


def assert_equal(a, b):
  chex.assert_trees_all_equal(
    jax.tree.map(np.asarray, a), jax.tree.map(np.asarray, b)
  )


@pytest.mark.parametrize(
  ("name", "rule"),
  [
    ("FT", "valid_mse"),
    pytest.param("AVG", "valid_mse", marks=pytest.mark.slow),
    ("Bi-DFCL-PPL", "ema_last"),
    pytest.param("AVG", "ema_last", marks=pytest.mark.slow),
    pytest.param("Bi-DFCL-PPL", "valid_mse", marks=pytest.mark.slow),
  ],
)
def test_fc_17_stopped_and_resumed_equals_straight(
  name, rule, tiny_study, tiny_config, tmp_path
):
  config = tiny_config(
    training__scan_blocks=2,
    training__checkpoint_seconds=0.0,
    training__checkpoint=rule,
  )
  method = methods.make(name, config)
  straight, history = training.fit(method, tiny_study, KEY, config)
  folder, asked, stops = tmp_path / "a é", [0], 0
  while True:

    def stop():
      asked[0] += 1
      return asked[0] % 7 == 0

    try:
      # A new method, as a new process would make it.
      resumed, again = training.fit(
        methods.make(name, config),
        tiny_study,
        KEY,
        config,
        folder,
        should_stop=stop,
      )
      break
    except training.Stopped:
      stops += 1
  assert stops >= 2
  assert_equal(straight, resumed)
  assert len(again) == len(history)
  for one, other in zip(again, history, strict=True):
    assert one.pop("stage") == other.pop("stage")
    # An epoch that was stopped inside reports all of its blocks.
    assert {**one, "seconds": 0} == pytest.approx(
      {**other, "seconds": 0}, rel=1e-6, nan_ok=True
    )
  done, _ = training.fit(method, tiny_study, KEY, config, folder)
  assert_equal(straight, done)


def test_another_seed_in_the_folder_is_refused(
  tiny_study, tiny_config, tmp_path
):
  config = tiny_config()
  method = methods.make("TSM-SL-RCT", config)
  training.fit(method, tiny_study, KEY, config, tmp_path)
  with pytest.raises(ValueError, match="another seed"):
    training.fit(method, tiny_study, jax.random.key(8), config, tmp_path)


def test_other_data_in_the_folder_is_refused(tiny_study, tiny_config, tmp_path):
  config = tiny_config()
  method = methods.make("TSM-SL-RCT", config)
  training.fit(method, tiny_study, KEY, config, tmp_path)
  dearer = tiny_study.scalers.replace(cost=2 * tiny_study.scalers.cost)
  other = tiny_study.replace(scalers=dearer)
  with pytest.raises(ValueError, match="other data"):
    training.fit(method, other, KEY, config, tmp_path)


def test_other_chunks_inside_an_epoch_are_refused(
  tiny_study, tiny_config, tmp_path
):
  method = methods.make("TSM-SL-RCT", tiny_config())
  stop = {"training__checkpoint_seconds": 0.0}
  with pytest.raises(training.Stopped):
    training.fit(
      method,
      tiny_study,
      KEY,
      tiny_config(training__scan_blocks=2, **stop),
      tmp_path,
      should_stop=lambda: True,
    )
  other = tiny_config(training__scan_blocks=3, **stop)
  with pytest.raises(ValueError, match="scan_blocks=2"):
    training.fit(method, tiny_study, KEY, other, tmp_path)


def test_learners_never_see_test_or_truth(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("TSM-SL-RCT", config)
  seen = []

  def spy(key, state, study):
    seen.append((study.rct_test, study.truth))
    return method.stages[0].enter(key, state, study)

  stage = method.stages[0]._replace(enter=spy)
  training.fit(method._replace(stages=(stage,)), tiny_study, KEY, config)
  assert seen == [(None, None)]


def _stage(name, config, study):
  method = methods.make(name, config)
  stage = method.stages[0]
  state = stage.enter(KEY, method.init(KEY, study), study)
  return stage, state, stage.fixed(state, study)


def test_fc_15_padded_batch_and_one_trace(tiny_config):
  config = tiny_config(simulator__n_rct=1000, rct__batch=256)
  study = data.simulate(jax.random.key(0), config.simulator)
  stage, state, aux = _stage("TSM-SL-RCT", config, study)
  part = jax.tree.map(jnp.asarray, study.rct_train)
  rows = epoch_rows(KEY, 1000, 256)[-1]
  _, metrics = jax.jit(stage.step)(KEY, state, take_block(part, rows), aux)
  real = rows[rows >= 0]
  assert len(real) == 232
  samples = jax.tree.map(lambda x: x[real], part)
  outcomes = stage.apply(state, samples.features)
  scaled = outcomes.replace(
    revenue=outcomes.revenue / state.scale.revenue,
    cost=outcomes.cost / state.scale.cost,
  )
  expected = factual_loss(scaled, to_scaled(samples, state.scale))
  np.testing.assert_allclose(metrics["loss"][0], expected, rtol=1e-6)

  chex.clear_trace_counter()
  counted = chex.assert_max_traces(stage.step, n=1)
  scan = epoch_scan(counted, 0.99)
  progress = start_stage(state)
  for epoch in range(3):
    order = epoch_rows(jax.random.fold_in(KEY, epoch), 1000, 256)
    progress, _ = scan(progress, part, order, 4 * epoch, KEY, aux)
  assert int(progress.state.step) == 12


def test_fc_17_what_is_read_back_steps_on_without_a_new_trace(
  tiny_study, tiny_config, tmp_path
):
  stage, state, aux = _stage("TSM-SL-RCT", tiny_config(), tiny_study)
  part = jax.tree.map(jnp.asarray, tiny_study.rct_train)
  chex.clear_trace_counter()
  scan = epoch_scan(chex.assert_max_traces(stage.step, n=1), 0.99)
  rest = part, epoch_rows(KEY, 300, 64), 0, KEY, aux
  progress, _ = scan(start_stage(state), *rest)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Position(0, 1), progress, {})
  _, found, _ = checkpoints.latest(progress)
  checkpoints.close()
  assert jax.tree.structure(found) == jax.tree.structure(progress)
  assert_equal(scan(found, *rest), scan(progress, *rest))


def test_fc_16_nan_batches_change_nothing_and_end_the_run(
  tiny_study, tiny_config
):
  config = tiny_config(training__max_skipped=8, rct__epochs=9)
  stage, state, aux = _stage("TSM-SL-RCT", config, tiny_study)
  poisoned = tiny_study.rct_train.replace(
    revenue=np.full(300, np.nan, np.float32)
  )
  samples = jax.tree.map(jnp.asarray, poisoned)
  step = jax.jit(stage.step)
  for k in range(8):
    rows = epoch_rows(jax.random.fold_in(KEY, k), 300, 64)[0]
    new, metrics = step(KEY, state, take_block(samples, rows), aux)
    assert metrics["skipped"].sum() == 1
    assert_equal(new, state)
  study = tiny_study.replace(rct_train=poisoned)
  method = methods.make("TSM-SL-RCT", config)
  with pytest.raises(training.Diverged, match="not finite, .* near step 0;"):
    training.fit(method, study, KEY, config)


def test_an_empty_block_changes_nothing(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("Bi-DFCL-PPL", config)
  state = method.init(KEY, tiny_study)
  for stage in method.stages:
    state = stage.enter(KEY, state, tiny_study)
    if not stage.epochs:
      continue
    aux = stage.fixed(state, tiny_study)
    rows = jnp.full((stage.period, stage.batch), -1)
    samples = jax.tree.map(jnp.asarray, tiny_study.obs)
    block = take_block(samples, rows)
    assert isinstance(block, Block)
    new, metrics = jax.jit(stage.step)(KEY, state, block, aux)
    assert_equal(new, state)
    assert np.sum(metrics["skipped"]) == 0


def test_average_is_bias_corrected(tiny_study, tiny_config):
  config = tiny_config()
  stage, state, aux = _stage("TSM-SL-RCT", config, tiny_study)
  samples = jax.tree.map(jnp.asarray, tiny_study.rct_train)
  rows = epoch_rows(KEY, 300, 64)
  targets, one = [], state
  for number, row in enumerate(rows):
    one, _ = jax.jit(stage.step)(
      jax.random.fold_in(KEY, number), one, take_block(samples, row), aux
    )
    targets.append(one.target)
  progress, _ = epoch_scan(stage.step, 0.9)(
    start_stage(state), samples, rows, 0, KEY, aux
  )
  weights = 0.1 * 0.9 ** np.arange(len(rows))[::-1]
  weights /= weights.sum()
  expected = jax.tree.map(
    lambda *leaves: sum(w * x for w, x in zip(weights, leaves, strict=True)),
    *targets,
  )
  chex.assert_trees_all_close(averaged_target(progress), expected, rtol=1e-4)


def test_fc_16_the_checkpoint_of_a_diverged_run_is_finite(
  tiny_study, tiny_config, tmp_path
):
  config = tiny_config(training__max_skipped=8, obs__epochs=2)
  rct = tiny_study.rct_train
  poisoned = tiny_study.replace(
    rct_train=rct.replace(revenue=np.full(300, np.nan, np.float32))
  )
  method = methods.make("FT", config)
  with pytest.raises(training.Diverged):
    training.fit(method, poisoned, KEY, config, tmp_path)
  # Going on with the repaired rows begins at the last snapshot, after OBS.
  state, history = training.fit(method, tiny_study, KEY, config, tmp_path)
  assert [line["stage"] for line in history].count("obs") == 2
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.target))


def test_fc_15_shared_buffers_can_be_donated(tiny_study, tiny_config):
  config = tiny_config()
  method = methods.make("Bi-DFCL-PPL", config)
  state = method.init(KEY, tiny_study)
  stage = method.stages[-1]
  state = state.replace(solution=state.target)
  kept = jax.tree.map(np.array, state.target)
  samples = jax.tree.map(jnp.asarray, tiny_study.obs)
  aux = stage.fixed(state, tiny_study)
  scan, progress = epoch_scan(stage.step, 0.99), start_stage(state)
  for number in range(10):
    rows = epoch_rows(jax.random.fold_in(KEY, number), 600, 128, stage.period)
    progress, _ = scan(progress, samples, rows, number, KEY, aux)
  assert int(progress.state.step) == 50
  assert_equal(state.target, kept)
  assert_equal(progress.state.solution, kept)
