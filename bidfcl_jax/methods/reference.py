"""What is settled on entering a stage: reference prices and temperatures.

Reference prices bound lambda* of every later step, and a frozen temperature
belongs to one: both are made on rows of the population that lambda* answers
for, with spend counted as the decision loss counts it (pricing.py).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import Config
from bidfcl_jax.losses.value import policy_value
from bidfcl_jax.methods import pricing as pricing_lib
from bidfcl_jax.methods.budgets import budgets_of, cheapest_spend
from bidfcl_jax.methods.members import mean_outcomes
from bidfcl_jax.methods.method import to_money
from bidfcl_jax.methods.pricing import Evidence
from bidfcl_jax.methods.taught import Parts, with_labels
from bidfcl_jax.methods.teachers import start_stages
from bidfcl_jax.methods.temperature import frozen_temperature
from bidfcl_jax.methods.updates import go_on, money_apply, restart
from bidfcl_jax.models import Network
from bidfcl_jax.types import Outcomes, Study


@functools.lru_cache(maxsize=64)
def taught_money(teacher: Network):
  """Returns (state, features) -> the teacher's Outcomes, original units.

  One function a network, so that it is compiled once.
  """

  def apply(state, features):
    taught = mean_outcomes(teacher, state.members, features)
    return to_money(taught, state.scale)

  return apply


def reference_rows(parts: Parts, state, study: Study) -> Evidence:
  """Returns rows of the population that lambda* answers for.

  They carry what spend is counted by in every later step: observed costs, or
  the teacher's outcomes.
  """
  if parts.config.decision.price_population == "rct":
    return with_labels(
      parts, state, study, pricing_lib.spread_rows(study.rct_train)
    )
  samples = pricing_lib.spread_rows(study.obs)
  teach = jax.jit(taught_money(parts.networks.teacher))
  labels = teach(state, samples.features)
  share = jnp.asarray(study.propensity, float)
  return pricing_lib.on_labels(Evidence(samples, share, labels))


def reference_prices(config: Config, outcomes: Outcomes, rows, budgets):
  """Returns lambda* of each budget `[B]` at predictions on reference_rows."""
  estimator = pricing_lib.cost_estimator(config.decision)
  return jnp.stack(
    [
      pricing_lib.solve_price(
        outcomes, rows, float(b), config.decision, estimator=estimator
      )
      for b in budgets
    ]
  )


def dual_prices(
  config: Config, outcomes, rows: Evidence, study: Study
) -> jax.Array:
  """Returns lambda*(b) at shares of the budget range, or at budgets `[G]`.

  The range goes from the spend of the cheapest arm to the spend, by IPW, of the
  model's policy without a budget.
  """
  budgets = budgets_of(config, study)
  if config.decision.grid:
    greedy = jax.nn.one_hot(
      jnp.argmax(outcomes.revenue, axis=1), outcomes.revenue.shape[1]
    )
    _, spend = policy_value(greedy, rows.samples, rows.propensity)
    least = cheapest_spend(study)
    shares = np.asarray(config.decision.grid)
    budgets = least + shares * (float(spend) - least)
  return reference_prices(config, outcomes, rows, budgets)


def at_reference(parts: Parts, apply, state, study: Study):
  """Returns (rows, Outcomes, lambda* of each budget `[B]`) of a model.

  Args:
    parts: settings and networks.
    apply: (state, features) -> Outcomes, original units.
    state: TaughtState with the teacher.
    study: whose rows and budget are read.
  """
  config = parts.config
  rows = reference_rows(parts, state, study)
  outcomes = jax.jit(apply)(state, rows.samples.features)
  budgets = budgets_of(config, study)
  return rows, outcomes, reference_prices(config, outcomes, rows, budgets)


def bounded(config: Config, state, prices: jax.Array):
  """Returns the state with lambda* bounded around reference prices `[B]`."""
  bounds = jax.vmap(
    lambda price: pricing_lib.reference_bounds(price, config.decision)
  )(prices)
  return state.replace(pricing=state.pricing.replace(bounds=bounds))


def frozen_temperatures(config: Config, outcomes, samples, prices):
  """Returns the temperature that is frozen at each price, `[B]`."""
  return jax.vmap(
    lambda price: frozen_temperature(outcomes, samples, price, config.decision)
  )(prices)


def enter_taught(parts: Parts):
  """Returns an `enter`: the teacher's prices bound, the target begins."""
  config = parts.config
  own_start = start_stages(config, parts.target)
  teach = taught_money(parts.networks.teacher)
  begin = restart(parts.target, parts.lower)
  if config.bilevel.start == "finetuned":
    begin = go_on(parts.lower)

  def enter(key, state, study: Study):
    if config.bilevel.start == "finetuned" and not own_start:
      state = state.replace(target=jax.tree.map(lambda x: x[0], state.members))
    _, _, prices = at_reference(parts, teach, state, study)
    return begin(key, bounded(config, state, prices), study)

  return enter


def enter_temperature(parts: Parts):
  """Returns an `enter` that freezes each budget's temperature at the target."""
  config = parts.config
  adaptive = config.decision.temperature[0] == "spread"
  apply = money_apply(parts.target)

  def enter(key, state, study: Study):
    del key
    if adaptive:
      return state
    rows, outcomes, prices = at_reference(parts, apply, state, study)
    taus = frozen_temperatures(config, outcomes, rows.samples, prices)
    return state.replace(pricing=state.pricing.replace(temperature=taus))

  return enter
