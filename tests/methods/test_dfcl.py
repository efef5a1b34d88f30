"""DFCL: one level on RCT rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from methods.simple_rivals import gradient

from bidfcl_jax import methods
from bidfcl_jax.data.batches import Block
from bidfcl_jax.losses import factual_loss
from bidfcl_jax.methods import dfcl, reference
from bidfcl_jax.methods.method import to_scaled
from bidfcl_jax.methods.pricing import Evidence
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Outcomes, Samples

KEY = jax.random.key(4)
NAMES = ("DFCL-DPL", "DFCL-DIFD", "DFCL-PPL", "DFCL-PIFD", "FT-PPL")


def entered(name, study, config):
  """Returns (decision stage, entered state, aux, one block)."""
  method = methods.make(name, config)
  state = method.init(KEY, study)
  state = method.stages[1].enter(KEY, state, study)
  stage = method.stages[2]
  state = stage.enter(KEY, state, study)
  samples = jax.tree.map(lambda x: jnp.asarray(x[:128])[None], study.rct_train)
  block = Block(samples, jnp.arange(128)[None])
  return stage, state, stage.fixed(state, study), block


def test_arms_count_alike_in_the_balanced_loss():
  arm = np.repeat([0, 1], [90, 10]).astype(np.int32)
  rows = Samples(
    jnp.zeros((100, 1)),
    jnp.asarray(arm),
    jnp.asarray(1.0 * arm),
    jnp.zeros(100),
  )
  predicted = Outcomes(jnp.zeros((100, 2)), jnp.zeros((100, 2)))
  balanced = dfcl.balanced(rows, jnp.array([0.9, 0.1]))
  assert factual_loss(predicted, rows) == pytest.approx(0.1)
  assert factual_loss(predicted, balanced) == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_stages_read_what_the_name_says(name, tiny_config):
  method = methods.make(name, tiny_config())
  reads = [stage.reads for stage in method.stages]
  assert reads == ["obs" if name == "FT-PPL" else "rct", "rct", "rct"]
  assert [s.name for s in method.stages][1:] == ["store-1", "decision"]


def test_prices_of_the_grid_fall_as_budgets_grow(tiny_study, tiny_config):
  config = tiny_config(decision__price_clip=0.0)
  rct = tiny_study.rct_train
  lift = np.linspace(0, 1, tiny_study.arms)
  rng = np.random.default_rng(0)
  gain = rng.uniform(0.5, 2, (len(rct), 1))
  outcomes = Outcomes(
    jnp.asarray(10 * gain * np.sqrt(lift), jnp.float32),
    jnp.asarray(lift * np.ones_like(gain), jnp.float32),
  )
  share = jnp.asarray(tiny_study.propensity, float)
  found = []
  # The range of budgets begins at what the cheapest arm costs.
  for least in (0.0, 3.0):
    paid = rct.replace(cost=(least + lift[rct.arm]).astype(np.float32))
    prices = reference.dual_prices(
      config,
      outcomes.replace(cost=least + outcomes.cost),
      Evidence(paid, share),
      tiny_study.replace(rct_train=paid),
    )
    found.append(np.asarray(prices))
    assert len(prices) == 5
    assert (np.diff(prices) < 0).all()
    assert (found[-1] > 0).all()
  # IPW counts what all pay with noise; a budget below it costs 1e6 times that.
  assert found[1].max() < 3 * found[0].max()


@pytest.mark.parametrize(
  "name", [pytest.param("DFCL-PPL", marks=pytest.mark.slow), "DFCL-DIFD"]
)
def test_a_large_alpha_is_the_prediction_loss(name, tiny_study, tiny_config):
  config = tiny_config(decision__alpha=1e7, decision__rows=100)
  stage, state, aux, block = entered(name, tiny_study, config)
  new, metrics = jax.jit(stage.step)(KEY, state, block, aux)
  assert np.sum(metrics["skipped"]) == 0
  samples = to_scaled(jax.tree.map(lambda x: x[0], block.samples), state.scale)

  def prediction(target):
    predicted = make_target(config.network).apply(target, samples.features)
    rows = dfcl.balanced(samples, aux.rct.propensity)
    return factual_loss(predicted, rows)

  slope, expected = (
    ravel_pytree(tree)[0]
    for tree in (gradient(new), jax.jit(jax.grad(prediction))(state.target))
  )
  error = np.linalg.norm(slope / 1e7 - expected)
  assert error < 1e-3 * np.linalg.norm(expected)


def test_an_empty_batch_changes_nothing(tiny_study, tiny_config):
  config = tiny_config(decision__rows=100)
  stage, state, aux, block = entered("DFCL-PPL", tiny_study, config)
  empty = block._replace(
    samples=block.samples.replace(weight=0 * block.samples.weight)
  )
  new, _ = jax.jit(stage.step)(KEY, state, empty, aux)
  for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True):
    np.testing.assert_array_equal(a, b)


def test_finite_differences_need_observed_outcomes(tiny_config):
  config = tiny_config(decision__outcomes="dr")
  with pytest.raises(ValueError, match="PIFD and DIFD take ipw"):
    methods.make("DFCL-PIFD", config)


def test_ft_ppl_has_the_options_of_fine_tuning(tiny_study, tiny_config):
  common = {"decision__rows": 100}
  moved = {}
  for word, options in (
    ("free", {}),
    ("pulled", {"simple__pull": 0.5}),
    ("heads", {"simple__layers": "heads"}),
  ):
    config = tiny_config(**common, **options)
    stage, state, aux, block = entered("FT-PPL", tiny_study, config)
    away = jax.tree.map(lambda leaf: leaf + 0.1, state.target)
    state = state.replace(target=away)
    moved[word], _ = jax.jit(stage.step)(KEY, state, block, aux)
  # 0.1 away from the OBS model: a slope of 2 * 0.5 * 0.1 more.
  for free, pulled in zip(
    jax.tree.leaves(gradient(moved["free"])),
    jax.tree.leaves(gradient(moved["pulled"])),
    strict=True,
  ):
    np.testing.assert_allclose(pulled - free, 0.1, rtol=1e-3, atol=1e-5)
  for name, leaf in moved["heads"].target.items():
    same = jax.tree.map(np.array_equal, leaf, state.target[name])
    assert all(jax.tree.leaves(same)) == (name != "head")


@pytest.mark.parametrize("name", ["DFCL-PPL", "FT-PPL"])
def test_only_a_two_stage_start_can_be_given_up(name, tiny_study, tiny_config):
  config = tiny_config(decision__warm_start=False)
  method = methods.make(name, config)
  before = method.init(KEY, tiny_study)
  own = jax.random.fold_in(KEY, 1)
  after = method.stages[2].enter(own, before, tiny_study)
  same = all(
    np.array_equal(a, b)
    for a, b in zip(
      jax.tree.leaves(before.target),
      jax.tree.leaves(after.target),
      strict=True,
    )
  )
  # FT-PPL is the row that begins from OBS.
  assert same == (name == "FT-PPL")


def test_without_a_grid_the_dual_prices_are_those_of_the_budgets(
  tiny_study, tiny_config
):
  config = tiny_config(
    decision__grid=(),
    decision__budgets=(0.5, 1.0),
    decision__temperature=("gap", 1.0),
  )
  _, state, _, _ = entered("DFCL-DPL", tiny_study, config)
  clip = config.decision.price_clip
  np.testing.assert_allclose(
    state.prices, state.pricing.bounds[:, 0] * clip, rtol=1e-5
  )
  np.testing.assert_array_equal(state.temperatures, state.pricing.temperature)
  assert len(set(np.asarray(state.temperatures).tolist())) == 2
