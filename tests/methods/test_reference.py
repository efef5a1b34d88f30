"""Reference prices: counted as the decision loss counts, on its population."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax import methods, training
from bidfcl_jax.methods import bidfcl, pricing, reference
from bidfcl_jax.methods.budgets import budgets_of
from bidfcl_jax.methods.pricing import cost_estimator, solve_price
from bidfcl_jax.types import Outcomes, Samples

KEY = jax.random.key(6)


def entered(study, config):
  """Returns (parts, state at the entry of the warm start)."""
  method = methods.make("Bi-DFCL-PPL", config)
  warm = next(
    k for k, stage in enumerate(method.stages) if stage.name == "warm"
  )
  teacher = method._replace(stages=method.stages[:warm])
  state, _ = training.fit(teacher, study, KEY, config)
  state = method.stages[warm].enter(KEY, state, study)
  return bidfcl.make_parts(config, "policy"), state


@pytest.mark.parametrize(
  "options",
  [
    {},
    {"decision__outcomes": "plugin"},
    {"decision__outcomes": "dr"},
    {"decision__price_population": "obs"},
  ],
  ids=str,
)
def test_bounds_surround_the_price_of_the_loss_itself(
  options, tiny_study, tiny_config
):
  config = tiny_config(
    **options, decision__budgets=(0.2, 0.4), obs__learning_rate=0.02
  )
  parts, state = entered(tiny_study, config)
  rows = reference.reference_rows(parts, state, tiny_study)
  population = (
    tiny_study.obs
    if "price_population" in str(options)
    else tiny_study.rct_train
  )
  np.testing.assert_array_equal(rows.samples.features, population.features)
  estimator = cost_estimator(config.decision)
  assert estimator == ("dr" if options else "ipw")
  outcomes = reference.taught_money(parts.networks.teacher)(
    state, rows.samples.features
  )
  for k, budget in enumerate(budgets_of(config, tiny_study)):
    price = solve_price(
      outcomes, rows, budget, config.decision, estimator=estimator
    )
    clip = config.decision.price_clip
    assert price > 0
    np.testing.assert_allclose(
      state.pricing.bounds[k], [price / clip, price * clip], rtol=1e-4
    )


def test_observed_outcomes_of_obs_price_nothing(tiny_study, tiny_config):
  config = tiny_config(decision__price_population="obs")
  _, state = entered(tiny_study, config)
  obs = tiny_study.obs
  wrong = tiny_study.replace(obs=obs.replace(cost=100 * obs.cost + 7))
  _, other = entered(wrong, config)
  np.testing.assert_array_equal(state.pricing.bounds, other.pricing.bounds)


def test_reference_rows_come_from_all_of_a_sorted_file(tiny_study, monkeypatch):
  monkeypatch.setattr(pricing, "ALL_ROWS", 50)
  rct = tiny_study.rct_train
  ordered = rct.replace(revenue=np.arange(len(rct), dtype=np.float32))
  kept = np.asarray(pricing.spread_rows(ordered).revenue)
  assert len(kept) == 50
  assert len(np.unique(kept)) == 50
  np.testing.assert_allclose(kept.mean(), len(rct) / 2, rtol=0.02)


def test_all_rows_are_kept_where_there_are_few(tiny_study):
  rct = tiny_study.rct_train
  kept = pricing.spread_rows(rct)
  for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(rct), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_frozen_temperature_follows_its_own_price(tiny_config):
  config = tiny_config(decision__temperature=("gap", 1.0))
  revenue = jnp.asarray(np.random.default_rng(0).gamma(2.0, 5.0, (200, 3)))
  outcomes = Outcomes(revenue, 0.2 * revenue * jnp.arange(3))
  samples = Samples(
    jnp.zeros((200, 1)), jnp.zeros(200, int), revenue[:, 0], revenue[:, 0]
  )
  prices = jnp.array([0.5, 2.0])
  taus = reference.frozen_temperatures(config, outcomes, samples, prices)
  for price, tau in zip(prices, taus, strict=True):
    top = np.sort(np.asarray(outcomes.score(price)), axis=1)
    np.testing.assert_allclose(
      tau, np.median(top[:, -1] - top[:, -2]), rtol=1e-5
    )
