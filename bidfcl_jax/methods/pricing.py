"""Price, temperature and reward of a decision loss.

The decision losses take lambda*, tau and the price mu in the reward as
constants. This file makes them from the model at hand, under the options of
DecisionConfig (method.md 3 and 6):

  lambda*  the price at which the policy, hard or soft, spends b on the rows at
           hand, within [1/clip, clip] x a reference price: a decision loss can
           learn to make predicted costs useless, and an unbounded price follows
  tau      relative to the scores: their median gap (frozen at the warm start)
           or their spread (adaptive)
  mu       0 ("frozen", the paper), lambda* ("dual") or the smoothed marginal
           price ("total")

All of it is said for one budget; several budgets are a leading axis that the
caller maps over.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.allocation import price_for_budget, soft_price_for_budget
from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.losses.decision import marginal_price, plugin_marginal_price
from bidfcl_jax.losses.value import received
from bidfcl_jax.methods.temperature import temperature_at
from bidfcl_jax.types import Array, Outcomes, Samples

ALL_ROWS = 10_000


class Evidence(NamedTuple):
  """Rows that a policy is priced and judged on.

  Attributes:
    samples: individuals, original units. Their outcomes are read unless they
      come from a model (`on_labels`).
    propensity: `[M]` arm shares of the RCT.
    labels: the teacher's Outcomes `[n, M]`, original units, or None where no
      option asks for them.
  """

  samples: Samples
  propensity: Array
  labels: Outcomes | None = None


def on_labels(evidence: Evidence) -> Evidence:
  """Puts the teacher's outcomes at the received arms for the observed ones.

  A doubly robust estimate on such rows is the plug-in estimate: its correction
  is 0. Rows of OBS enter a decision loss in this form only.
  """
  samples, labels = evidence.samples, evidence.labels
  return evidence._replace(
    samples=samples.replace(
      revenue=received(labels.revenue, samples.arm),
      cost=received(labels.cost, samples.arm),
    )
  )


class Terms(NamedTuple):
  """What a decision loss takes besides predictions and rows; constants."""

  price: jax.Array
  temperature: jax.Array
  reward_price: jax.Array


@struct.dataclass
class Pricing:
  """What is remembered between decision losses; a leading axis of budgets.

  Attributes:
    bounds: `[2]`, the interval of lambda*; (0, inf) without a clip.
    temperature: frozen tau, score units; 0 where it is adaptive.
    mu: moving average of the marginal price.
    mu_seen: bool, whether mu holds a value yet.
  """

  bounds: jax.Array
  temperature: jax.Array
  mu: jax.Array
  mu_seen: jax.Array


def empty_pricing(budgets: int | None = None) -> Pricing:
  """Returns the Pricing before a stage with a decision loss begins.

  Args:
    budgets: length of the leading axis; None: no such axis.
  """
  one = Pricing(
    bounds=jnp.array([0.0, jnp.inf]),
    temperature=jnp.zeros(()),
    mu=jnp.zeros(()),
    mu_seen=jnp.asarray(False),
  )
  if budgets is None:
    return one
  return jax.tree.map(lambda x: jnp.stack([x] * budgets), one)


def spread_rows(samples: Samples) -> Samples:
  """Returns ALL_ROWS rows at even distances, all where there are fewer.

  Not the first ones: a file may be sorted.
  """
  total = len(samples)
  count = min(total, ALL_ROWS)
  rows = np.arange(count) * total // count
  return jax.tree.map(lambda x: jnp.asarray(x[rows]), samples)


def rows_at_upper_level(config: DecisionConfig, rows: int) -> int:
  """Returns how many of `rows` RCT rows one decision loss reads."""
  return min(rows, config.rows or ALL_ROWS)


def draw_rows(key: jax.Array, evidence: Evidence, count: int) -> Evidence:
  """Draws `count` rows with replacement; all of them where count is n.

  With replacement, since a permutation of the whole set costs more than the
  loss itself.
  """
  total = len(evidence.samples)
  if count >= total:
    return evidence
  rows = jax.random.randint(key, (count,), 0, total)
  samples, labels = jax.tree.map(
    lambda leaf: leaf[rows], (evidence.samples, evidence.labels)
  )
  return evidence._replace(samples=samples, labels=labels)


def needs_labels(config: DecisionConfig) -> bool:
  """Whether the loss reads a teacher's outcomes of the RCT rows."""
  return config.outcomes in ("dr", "plugin")


def cost_estimator(config: DecisionConfig) -> str:
  """Returns how spend is counted: by observed costs, or with labels "dr".

  Rows of another population carry the teacher's outcomes alone.
  """
  by_labels = needs_labels(config) or config.price_population == "obs"
  return "dr" if by_labels else "ipw"


def solve_price(
  outcomes: Outcomes,
  evidence: Evidence,
  budget: Array,
  config: DecisionConfig,
  *,
  estimator: str = "ipw",
  bounds: Array | None = None,
) -> jax.Array:
  """Returns lambda*: the feasible side of the hard policy's price."""
  _, price = price_for_budget(
    outcomes,
    budget,
    cost=estimator,
    samples=evidence.samples,
    propensity=evidence.propensity,
    nuisance=evidence.labels if estimator == "dr" else None,
    bounds=bounds,
    halvings=config.price_halvings,
  )
  return price


def reference_bounds(price: jax.Array, config: DecisionConfig) -> jax.Array:
  """Returns [price / clip, price * clip], or (0, inf) without a clip.

  A reference price of 0 (the budget does not bind yet) bounds nothing above:
  clipped to [0, 0] the price could never follow a budget that binds later.
  """
  if config.price_clip == 0:
    return jnp.array([0.0, jnp.inf])
  high = jnp.where(price > 0, price * config.price_clip, jnp.inf)
  return jnp.stack([price / config.price_clip, high])


def _marginal(outcomes, evidence: Evidence, price, tau, config):
  if config.outcomes == "plugin":
    raw = plugin_marginal_price(
      outcomes,
      evidence.labels,
      evidence.samples.weight,
      price=price,
      temperature=tau,
    )
  else:
    raw = marginal_price(
      outcomes,
      evidence.samples,
      evidence.propensity,
      price=price,
      temperature=tau,
    )
  if config.mu_clip == "narrow":
    return jnp.clip(raw, price / 4, 2 * price + 0.1)
  return jnp.clip(raw, 0, 10 * price + 1)


def _smoothed(raw: jax.Array, pricing: Pricing, decay: float) -> Pricing:
  usable = jnp.isfinite(raw)
  raw = jnp.where(usable, raw, pricing.mu)
  decay = jnp.where(pricing.mu_seen, decay, 0.0)
  mu = decay * pricing.mu + (1 - decay) * raw
  return pricing.replace(mu=mu, mu_seen=pricing.mu_seen | usable)


def decision_terms(
  outcomes: Outcomes,
  evidence: Evidence,
  budget: Array,
  pricing: Pricing,
  config: DecisionConfig,
  *,
  priced_on: tuple[Outcomes, Evidence] | None = None,
) -> tuple[Terms, Pricing, dict[str, jax.Array]]:
  """Makes the constants of one decision loss at one budget.

  Args:
    outcomes: predicted on the rows, original units; not differentiated.
    evidence: RCT rows.
    budget: per capita.
    pricing: what is remembered.
    config: options.
    priced_on: predictions on other rows and these rows `on_labels`, where
      lambda* answers for another population; None: the rows themselves.

  Returns:
    (Terms, Pricing with the new mu, metrics).
  """
  outcomes, priced_on = jax.lax.stop_gradient((outcomes, priced_on))
  estimator = cost_estimator(config)
  priced, rows = (outcomes, evidence) if priced_on is None else priced_on
  bounds = pricing.bounds if config.price_clip > 0 else None
  price = solve_price(
    priced, rows, budget, config, estimator=estimator, bounds=bounds
  )
  weight = evidence.samples.weight
  tau = temperature_at(outcomes, weight, price, pricing.temperature, config)
  if config.price_of == "soft":
    price = soft_price_for_budget(
      priced,
      budget,
      temperature=tau,
      samples=rows.samples,
      propensity=rows.propensity,
      estimator=estimator,
      nuisance=rows.labels,
      bounds=bounds,
    )

  reward_price = jnp.zeros_like(price)
  if config.price_gradient == "dual":
    reward_price = price
  elif config.price_gradient == "total":
    raw = _marginal(outcomes, evidence, price, tau, config)
    pricing = _smoothed(raw, pricing, config.mu_decay)
    reward_price = pricing.mu
  low, high = pricing.bounds
  at_low = (low > 0) & (price <= 1.001 * low)
  clipped = at_low | (price >= 0.999 * high)
  metrics = {
    "price": price,
    "temperature": tau,
    "reward_price": reward_price,
    "price_clipped": (clipped & (config.price_clip > 0)).astype(jnp.float32),
  }
  return Terms(price, tau, reward_price), pricing, metrics
