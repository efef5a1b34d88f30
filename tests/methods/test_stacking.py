"""AVG2, AVG-score and STACK against closed forms and a library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from methods.simple_rivals import KEY, entered, first_rows, untrained

from bidfcl_jax import data, methods
from bidfcl_jax.methods.ensembles import choose_weight, mixed_outcomes
from bidfcl_jax.methods.stacking import mixed_ranks, mixed_scores, stacked
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes


def cells(seed, arms=3, rows=40):
  rng = np.random.default_rng(seed)
  shape = (rows, arms)
  return Outcomes(rng.normal(size=shape), rng.uniform(0.5, 2, size=shape))


def test_two_weights_mix_each_outcome_by_its_own():
  a, b = cells(0), cells(1)
  mixed = mixed_outcomes(a, b, 0.0, 1.0)
  np.testing.assert_array_equal(mixed.revenue, a.revenue)
  np.testing.assert_array_equal(mixed.cost, b.cost)


def test_the_middle_of_a_grid_wins_where_all_are_alike():
  line = np.linspace(0, 1, 3)
  places = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
  errors = np.ones((50, 9))
  rng = np.random.default_rng(0)
  chosen = choose_weight(errors, rng, replicates=20, places=places)
  np.testing.assert_array_equal(places[chosen], [0.5, 0.5])
  errors[:, :] += 5.0 * (places[:, 1] < 1)
  chosen = choose_weight(errors, rng, replicates=20, places=places)
  np.testing.assert_array_equal(places[chosen], [0.5, 1.0])


@pytest.mark.parametrize(("worse_by", "chosen"), [(0.5, 2), (3.0, 0)])
def test_the_middle_wins_within_one_standard_error(worse_by, chosen):
  rng = np.random.default_rng(0)
  rows = 400
  noise = rng.normal(size=rows)
  noise = (noise - noise.mean()) / noise.std()
  # Errors that candidates share say nothing of their difference.
  errors = np.tile(20 * rng.normal(size=(rows, 1)) ** 2, 5)
  errors[:, 2] += noise + worse_by / np.sqrt(rows)
  errors[:, [1, 3, 4]] += 100
  assert choose_weight(errors, rng, replicates=200) == chosen


def test_avg2_finds_a_weight_for_each_outcome(tiny_study, tiny_config):
  """Revenue of the validation rows is the OBS model's, cost the RCT model's."""
  config = tiny_config()
  network = make_target(config.network)
  first, second = (untrained(k, tiny_study, config) for k in (1, 2))
  valid, rows = tiny_study.rct_valid, np.arange(len(tiny_study.rct_valid))
  one, two = (network.apply(p, valid.features) for p in (first, second))
  valid = valid.replace(
    revenue=np.asarray(one.revenue)[rows, valid.arm]
    * np.float32(tiny_study.scalers.revenue),
    cost=np.asarray(two.cost)[rows, valid.arm]
    * np.float32(tiny_study.scalers.cost),
  )
  study = tiny_study.replace(rct_valid=valid)
  _, state = entered("AVG2", study, config, first=first, target=second)
  np.testing.assert_allclose(state.weight, [0, 1], atol=1e-6)


def test_mean_scores_at_the_mean_price():
  models, prices = (cells(2), cells(3)), np.array([0.5, 1.5])
  spreads = np.array([2.0, 4.0])
  got = mixed_scores(models, prices, spreads).score(1.0)
  z = [m.score(p) / s for m, p, s in zip(models, prices, spreads, strict=True)]
  np.testing.assert_allclose(got, 3.0 * (z[0] + z[1]) / 2, rtol=1e-5)


def test_scores_of_one_model_twice_are_its_own():
  model = cells(4)
  got = mixed_scores((model, model), np.full(2, 0.7), np.full(2, 3.0))
  np.testing.assert_allclose(got.revenue, model.revenue, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(got.cost, model.cost, rtol=1e-6)


def test_two_arms_average_ranks():
  roi = np.array([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 30.0]])

  def model(values):
    zero = np.zeros(4)
    return Outcomes(np.stack([zero, values], 1), np.stack([zero, zero + 1], 1))

  got = mixed_ranks((model(roi[0]), model(roi[1])), np.sort(roi, axis=1))
  # The outlier 30 counts as one rank.
  ranks = np.array([[3, 1, 2, 0], [0, 1, 2, 3]]) / 3
  np.testing.assert_allclose(got.revenue[:, 1], ranks.mean(axis=0), atol=1e-6)
  np.testing.assert_array_equal(got.cost, model(roi[0]).cost)
  known = mixed_ranks(
    (model(roi[0]), model(roi[1])), np.sort(roi, axis=1), jnp.array([1.0, 5.0])
  )
  np.testing.assert_array_equal(known.cost, [[1, 5]] * 4)
  np.testing.assert_allclose(known.revenue, 4 * got.revenue, rtol=1e-6)


def test_avg_score_prices_each_model_by_its_own(tiny_study, tiny_config):
  config = tiny_config()
  _, state = entered("AVG-score", tiny_study, config)
  assert np.isfinite(state.price).all() and (state.spread > 0).all()
  np.testing.assert_array_equal(state.price[0], state.price[1])
  other = untrained(2, tiny_study, config)
  _, state = entered("AVG-score", tiny_study, config, first=other)
  assert state.price[0] != state.price[1]


def test_stack_against_a_general_solver():
  rng = np.random.default_rng(0)
  f = rng.normal(size=(80, 2))
  y = 1.0 + f @ [0.8, -0.4] + 0.1 * rng.normal(size=80)
  offset, weights = stacked(f, y, 3.0)
  assert weights[1] == 0 and weights[0] > 0

  def loss(b):
    return np.sum((y - b[0] - f @ b[1:]) ** 2) + 3.0 * np.sum(b[1:] ** 2)

  best = scipy.optimize.minimize(
    loss, np.ones(3), bounds=[(None, None), (0, None), (0, None)]
  )
  np.testing.assert_allclose([offset, *weights], best.x, atol=1e-4)


def test_stack_reads_predictions_of_networks_blind_to_the_row(
  tiny_study, tiny_config
):
  config = tiny_config(simple__folds=3)
  method = methods.make("STACK", config)
  blind = [s for s in method.stages if s.name.startswith("rct-")]
  assert [s.name for s in blind] == ["rct-2", "rct-3", "rct-4"]
  network = make_target(config.network)
  every = [untrained(k, tiny_study, config) for k in range(3)]
  members = jax.tree.map(lambda *leaves: np.stack(leaves), *every)
  rct = tiny_study.rct_train
  fold, rows = np.asarray(rct.group) % 3, np.arange(len(rct))
  every = np.stack(
    [network.apply(p, rct.features).revenue for p in every], axis=1
  )
  taught = every[rows, fold, rct.arm]
  study = tiny_study.replace(
    rct_train=rct.replace(
      revenue=taught * np.float32(tiny_study.scalers.revenue)
    )
  )
  config = tiny_config(simple__folds=3, simple__ridge=1e-8)
  _, state = entered("STACK", study, config, members=members)
  weights = np.asarray(state.weights.revenue)
  np.testing.assert_allclose(weights[:, 1], 1, atol=1e-2)
  np.testing.assert_allclose(weights[:, 0], 0, atol=1e-2)


def test_a_blind_stage_ignores_its_fold(tiny_study, tiny_config):
  config = tiny_config()
  stage = methods.make("STACK", config).stages[1]
  method = methods.make("STACK", config)
  state = stage.enter(KEY, method.init(KEY, tiny_study), tiny_study)
  rct = jax.tree.map(jax.numpy.asarray, tiny_study.rct_train)
  seen = rct.group % 2 != 0
  wild = rct.replace(revenue=rct.revenue * np.where(seen, 1, 100))
  aux = stage.fixed(state, tiny_study)
  step = jax.jit(stage.step)
  one, two = (
    step(KEY, state, first_rows(samples, 100), aux)[0].target
    for samples in (rct, wild)
  )
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    np.testing.assert_array_equal(a, b)


def test_one_fold_cannot_be_crossed(tiny_config):
  with pytest.raises(ValueError, match="simple.folds=1"):
    methods.make("STACK", tiny_config(simple__folds=1))


def test_two_arm_study_gets_quantiles(tiny_study, tiny_config):
  del tiny_study
  config = tiny_config()
  study = data.simulate(KEY, config.simulator)
  keep = {}
  for name in ("obs", "rct_train", "rct_valid", "rct_test"):
    samples = getattr(study, name)
    keep[name] = jax.tree.map(lambda x, m=samples.arm < 2: x[m], samples)
  share = np.array([0.5, 0.5])
  study = study.replace(
    **keep, propensity=share, arm_names=study.arm_names[:2], truth=None
  )
  other = untrained(2, study, config)
  method, state = entered("AVG-score", study, config, first=other)
  predicted = method.predict(state, study.rct_train.features)
  assert 0.4 < float(predicted.revenue[:, 1].mean()) < 0.6
