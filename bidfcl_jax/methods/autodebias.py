"""AutoDebias (Chen et al., SIGIR 2021, arXiv 2105.04170): learnt weights.

Low-capacity meta parameters phi weigh OBS rows and impute all cells:

  lower  (1/n) sum_i [ w1_i MSE_t(i) + l sum_j w2_ij |F_ij - m_ij|^2 ]
  upper  MSE_t on the RCT batch after one virtual gradient step
  w1_i  = exp(z1 / 5), z1 linear in (x, one-hot t, r, c)
  w2_ij = exp(z2 / 5), z2 linear in (x, one-hot j, whether j = t)
  m_ij  linear in (x, one-hot j), one for each outcome, plus a free offset per
        (j, whether j = t)

z is clipped to [-10, 10]. All coefficients begin at 0, so that weights are 1,
and m at the arms' RCT means. In each batch phi moves first, then the target
with the new phi; w1 and w2 stay for the first epochs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.reweighting import reweighted_loss
from bidfcl_jax.losses.value import weighted_mean
from bidfcl_jax.methods.effects import arm_means
from bidfcl_jax.methods.meta_step import meta_gradient
from bidfcl_jax.methods.method import Method, State, to_scaled
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.updates import (
  guarded_update,
  meta_update,
  money_apply,
  plain_init,
  reported,
  restart,
  step_size,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.types import Array, Outcomes, Samples, Study

GROUPS = ("w1", "w2", "m")
_CLIP = 10.0
_SOFTEN = 5.0


@struct.dataclass
class AutoDebiasState(State):
  """State of the target and the meta parameters.

  Attributes:
    meta: phi, a dictionary with the keys of GROUPS.
    meta_optimiser: an Adam state for each of them.
  """

  meta: dict[str, Any]
  meta_optimiser: dict[str, Any]


class Delayed(NamedTuple):
  """aux of the stage: its steps, and the steps before w1 and w2 move."""

  total: jax.Array
  delay: jax.Array


class Debiasing(NamedTuple):
  """What phi says of a batch.

  Attributes:
    row: w1, `[n]`.
    cell: w2, `[n, M]`.
    imputed: m, Outcomes `[n, M]`, scaled units.
  """

  row: Array
  cell: Array
  imputed: Outcomes


def init_meta(study: Study, scale) -> dict[str, Any]:
  """Returns phi at its start: weights 1, m at the arms' RCT means."""
  rct = to_scaled(study.rct_train, scale)
  d, arms = rct.features.shape[1], study.arms
  means = arm_means(rct, arms)
  learnt = means.cost if scale.learn_cost else np.zeros(arms)
  base = np.concatenate([means.revenue, learnt])
  return {
    "w1": {
      "features": jnp.zeros(d),
      "arm": jnp.zeros(arms),
      "outcome": jnp.zeros(2),
    },
    "w2": {
      "features": jnp.zeros(d),
      "arm": jnp.zeros(arms),
      "seen": jnp.zeros(()),
    },
    "m": {
      "features": jnp.zeros((d, 2)),
      "arm": jnp.asarray(base, float).reshape(2, arms),
      "offset": jnp.zeros((2, 2, arms)),
    },
  }


def debias(
  meta: dict[str, Any], samples: Samples, *, learn_cost: bool = True
) -> Debiasing:
  """Computes w1, w2 and m of a batch of OBS rows in scaled units.

  Args:
    meta: phi.
    samples: rows.
    learn_cost: False where the arms' costs are known: w1 reads none.
  """
  w1, w2, m = (meta[name] for name in GROUPS)
  x = samples.features
  seen = jax.nn.one_hot(samples.arm, w1["arm"].shape[0], dtype=bool)

  def weight(z):
    return jnp.exp(jnp.clip(z, -_CLIP, _CLIP) / _SOFTEN)

  z1 = x @ w1["features"] + w1["arm"][samples.arm]
  z1 += w1["outcome"][0] * samples.revenue
  if learn_cost:
    z1 += w1["outcome"][1] * samples.cost
  z2 = (x @ w2["features"])[:, None] + w2["arm"] + w2["seen"] * seen

  def impute(k):
    offset = jnp.where(seen, m["offset"][1, k], m["offset"][0, k])
    return (x @ m["features"][:, k])[:, None] + m["arm"][k] + offset

  return Debiasing(weight(z1), weight(z2), Outcomes(impute(0), impute(1)))


def debiased_loss(
  predicted: Outcomes,
  samples: Samples,
  by: Debiasing,
  *,
  imputation_weight: float,
  learn_cost: bool = True,
) -> jax.Array:
  """Computes AutoDebias' lower loss; IPS and DR-JT are members of its family.

  With w1 = 1/e and l = 0 it is IPS; with w1 = v, l = 1 and w2 = 1 but 1 - v in
  the received cell it is the doubly robust loss.

  Args:
    predicted: F, `[n, M]`, scaled units.
    samples: rows in the same units; weight 0 leaves a row out.
    by: w1, w2 and m.
    imputation_weight: l.
    learn_cost: False where the arms' costs are known: they count 0.
  """
  loss = reweighted_loss(
    predicted, samples, by.row, normalise="plain", learn_cost=learn_cost
  )
  gaps = jax.tree.map(lambda f, m: (f - m) ** 2, predicted, by.imputed)
  squares = gaps.revenue + gaps.cost if learn_cost else gaps.revenue
  imputed = weighted_mean(jnp.sum(by.cell * squares, axis=1), samples.weight)
  return loss + imputation_weight * imputed


def _meta_step(lower, upper, adams, source, state, samples, aux: Delayed):
  """One step of each group of phi; w1 and w2 only after the delay."""
  gradient, accepted = meta_gradient(
    lower,
    upper,
    state.target,
    state.meta,
    step_size=step_size(state, source, aux.total),
  )
  alive = jnp.sum(samples.weight) > 0
  meta, optimisers = {}, {}
  for name in GROUPS:
    due = (name == "m") | (state.step >= aux.delay)
    meta[name], optimisers[name] = meta_update(
      adams[name],
      gradient[name],
      state.meta[name],
      state.meta_optimiser[name],
      alive & accepted & due,
    )
  metrics = {
    "meta_skipped": ~accepted,
    "meta_gradient_norm": optax.tree.norm(gradient),
  }
  return state.replace(meta=meta, meta_optimiser=optimisers), metrics


def make_autodebias(config: Config) -> Method:
  """AutoDebias: weights and labels of OBS learnt from RCT rows."""
  settings, source = config.debias, config.obs
  network = make_target(config.network)
  rates = settings.auto_learning_rates
  adams = {
    name: optax.adam(rate, eps=settings.meta_eps)
    for name, rate in zip(GROUPS, rates, strict=True)
  }
  plain = plain_init(network, source)

  def init(key, study: Study) -> AutoDebiasState:
    base = plain(key, study)
    meta = init_meta(study, base.scale)
    return AutoDebiasState(
      **vars(base),
      meta=meta,
      meta_optimiser={name: adams[name].init(meta[name]) for name in GROUPS},
    )

  def learn(key, state, batch, aux: Delayed):
    del key
    samples, rct = batch.samples, batch.rct
    learn_cost = state.scale.learn_cost

    def lower(theta, meta):
      return debiased_loss(
        network.apply(theta, samples.features),
        samples,
        debias(meta, samples, learn_cost=learn_cost),
        imputation_weight=settings.imputation_weight,
        learn_cost=learn_cost,
      )

    def upper(theta):
      predicted = network.apply(theta, rct.features)
      return factual_loss(predicted, rct, learn_cost=learn_cost)

    state, seen = _meta_step(lower, upper, adams, source, state, samples, aux)
    by = debias(state.meta, samples, learn_cost=learn_cost)
    seen["row_weight"] = weighted_mean(by.row, samples.weight)
    seen["cell_weight"] = weighted_mean(
      jnp.mean(by.cell, axis=1), samples.weight
    )
    alive = jnp.sum(samples.weight) > 0
    seen = reported(alive, seen)
    value, gradient = jax.value_and_grad(lower)(state.target, state.meta)
    state, metrics = guarded_update(
      state, value, gradient, samples.weight, source, aux.total
    )
    return state, seen | metrics

  def fixed(state, study: Study) -> Delayed:
    del state
    delay = min(settings.delay, source.epochs // 3)
    return Delayed(
      *(total_steps(study, "pair", source, n) for n in (source.epochs, delay))
    )

  apply = money_apply(network)
  stage = batch_stage(
    source,
    learn,
    apply=apply,
    enter=restart(network, source),
    fixed=fixed,
    reads="pair",
  )
  return Method(name="AutoDebias", init=init, stages=(stage,), predict=apply)


METHODS = {"AutoDebias": make_autodebias}
