"""The decision loss of a method: which surrogate, valued how, at which budgets.

One function from predictions to a scalar serves the upper level of Bi-DFCL, the
single-level methods (DFCL, FT-PPL) and DIRECT. Constants of the differentiation
(prices, temperatures, mu, gap floors) are made beforehand and passed in.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bidfcl_jax.config import DecisionConfig
from bidfcl_jax.config_checks import one_of
from bidfcl_jax.losses.decision import plugin_policy_loss, policy_loss
from bidfcl_jax.losses.finite_difference import finite_difference_loss
from bidfcl_jax.methods.pricing import (
  Evidence,
  Pricing,
  Terms,
  decision_terms,
)
from bidfcl_jax.methods.temperature import median_gap, temperature_at
from bidfcl_jax.types import Array, Outcomes

SURROGATES = ("policy", "finite_difference")


def check_surrogate(config: DecisionConfig, surrogate: str) -> None:
  """Refuses a loss that cannot be trained by.

  Raises:
    ValueError: no surrogate (the hard policy's value has no gradient), or
      finite differences of anything but ipw outcomes.
  """
  one_of("surrogate", surrogate, SURROGATES)
  if surrogate == "finite_difference" and config.outcomes != "ipw":
    raise ValueError(
      f"decision.outcomes={config.outcomes} has no finite-difference form: "
      "PIFD and DIFD take ipw"
    )


def surrogate_loss(
  outcomes: Outcomes,
  evidence: Evidence,
  terms: Terms,
  config: DecisionConfig,
  surrogate: str,
) -> jax.Array:
  """Returns the surrogate at one budget: negative revenue per capita.

  Args:
    outcomes: predicted on the rows, `[n, M]`, original units; differentiated.
    evidence: the rows and what values them.
    terms: lambda*, tau, mu.
    config: options.
    surrogate: "policy" (PPL, DPL) or "finite_difference" (PIFD, DIFD).

  Raises:
    ValueError: finite differences of anything but observed outcomes by ipw.
  """
  check_surrogate(config, surrogate)
  if surrogate == "finite_difference":
    scores = jax.lax.stop_gradient(outcomes.score(terms.price))
    gap = median_gap(scores, evidence.samples.weight)
    # All scores equal: any positive floor keeps the slopes finite.
    gap = jnp.where(gap > 0, gap, 1e-6)
    return finite_difference_loss(
      outcomes,
      evidence.samples,
      evidence.propensity,
      gap_floor=config.gap_floor * gap,
      window=config.window * gap if config.window > 0 else None,
      argmax=config.argmax,
      multiplier=config.multiplier,
      **terms._asdict(),
    )
  if config.outcomes == "plugin":
    return plugin_policy_loss(
      outcomes, evidence.labels, evidence.samples.weight, **terms._asdict()
    )
  return policy_loss(
    outcomes,
    evidence.samples,
    evidence.propensity,
    estimator=config.outcomes,
    nuisance=evidence.labels,
    **terms._asdict(),
  )


def mean_surrogate(
  outcomes: Outcomes,
  evidence: Evidence,
  terms: Terms,
  config: DecisionConfig,
  surrogate: str,
) -> jax.Array:
  """Returns the mean of `surrogate_loss` over the leading axis of terms."""
  values = jax.vmap(
    lambda one: surrogate_loss(outcomes, evidence, one, config, surrogate)
  )(terms)
  return jnp.mean(values)


def terms_at_budgets(
  outcomes: Outcomes,
  evidence: Evidence,
  budgets: Array,
  pricing: Pricing,
  config: DecisionConfig,
  *,
  priced_on: tuple[Outcomes, Evidence] | None = None,
) -> tuple[Terms, Pricing, dict[str, jax.Array]]:
  """Maps `decision_terms` over budgets `[B]`; metrics are means over them."""
  terms, pricing, metrics = jax.vmap(
    lambda budget, memory: decision_terms(
      outcomes, evidence, budget, memory, config, priced_on=priced_on
    )
  )(budgets, pricing)
  return terms, pricing, jax.tree.map(jnp.mean, metrics)


def dual_terms(
  outcomes: Outcomes,
  weight: Array,
  prices: Array,
  frozen: Array,
  config: DecisionConfig,
) -> Terms:
  """Returns the Terms of the dual losses at given prices `[G]` (A.7).

  `frozen` are the temperatures `[G]` of the kinds that are set once.
  """
  outcomes = jax.lax.stop_gradient(outcomes)
  temperatures = jax.vmap(
    lambda price, own: temperature_at(outcomes, weight, price, own, config)
  )(prices, frozen)
  return Terms(prices, temperatures, prices)


class Sources(NamedTuple):
  """Rows of one decision loss.

  Attributes:
    rct: randomised rows.
    obs: OBS rows `on_labels`, or None where no option reads them.
  """

  rct: Evidence
  obs: Evidence | None = None


def decision_loss(
  money: Callable[[Any, Array], Outcomes],
  theta: Any,
  sources: Sources,
  budgets: Array,
  pricing: Pricing,
  config: DecisionConfig,
  surrogate: str,
) -> tuple[Callable[[Any], jax.Array], Pricing, dict[str, jax.Array]]:
  """Fixes prices, temperatures and mu at theta.

  Args:
    money: (parameters, features) -> Outcomes, original units.
    theta: parameters at which the constants are made.
    sources: the rows.
    budgets: `[B]`, per capita.
    pricing: what is remembered, with a leading axis of B.
    config: options.
    surrogate: see `surrogate_loss`.

  Returns:
    (parameters -> decision loss, Pricing with the new mu, metrics).
  """
  rct, obs = sources
  priced_on = None
  if config.price_population == "obs":
    priced_on = money(theta, obs.samples.features), obs
  terms, pricing, metrics = terms_at_budgets(
    money(theta, rct.samples.features),
    rct,
    budgets,
    pricing,
    config,
    priced_on=priced_on,
  )

  def loss(theta):
    def on(rows: Evidence):
      outcomes = money(theta, rows.samples.features)
      return mean_surrogate(outcomes, rows, terms, config, surrogate)

    return on(rct) + on(obs) if config.covariates == "both" else on(rct)

  return loss, pricing, metrics


def needs_obs(config: DecisionConfig) -> bool:
  """Whether the loss reads covariates of OBS rows."""
  return config.covariates == "both" or config.price_population == "obs"
