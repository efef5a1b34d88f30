"""CausE (Bonner & Vasile, RecSys 2018, arXiv 1706.07639): two output layers.

One trunk, an output layer W_o for OBS rows and W_t for RCT rows, of shape
(h + 1, 2M) each with their biases:

  L = mean_OBS MSE_t(W_o) + mean_RCT MSE_t(W_t)
      + beta (1 / 2M) sum_col |W_o,col - sg W_t,col|_1

Direction "one" predicts with W_o; "both" adds the same term with the other side
stopped and predicts with W_t. With activations that grow without bound, beta's
meaning follows the trunk's scale, hence a small L2 term on the trunk.
"""

from typing import Any

import jax
import jax.numpy as jnp

from bidfcl_jax.config import CausalEmbeddingsConfig, Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods.method import Method
from bidfcl_jax.methods.stages import batch_stage
from bidfcl_jax.methods.updates import (
  guarded_update,
  money_apply,
  plain_init,
  restart,
  schedule,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.types import Samples


def randomised_side(params: Any) -> Any:
  """Returns the network's parameters with W_t in the place of W_o."""
  return {**params, "head": params["randomised"]}


def two_sided(network: Network, direction: str) -> Network:
  """Adds W_t, equal to W_o at first; applies the side that predicts."""

  def init(key, features, arms):
    params = network.init(key, features, arms)
    return {**params, "randomised": params["head"]}

  def apply(params, features):
    side = randomised_side(params) if direction == "both" else params
    return network.apply(side, features)

  return network._replace(init=init, apply=apply)


def discrepancy(
  params: Any, *, direction: str, learn_cost: bool = True
) -> jax.Array:
  """Returns the mean over columns of |W_o,col - W_t,col|_1.

  Args:
    params: of the two-sided network.
    direction: "one": gradient to W_o alone; "both": to each side, the other
      one stopped.
    learn_cost: False leaves the cost's columns out.
  """
  stop = jax.lax.stop_gradient

  def distance(moving, still):
    gaps = jax.tree.map(
      lambda a, b: jnp.sum(jnp.abs(a - stop(b)).reshape(-1, a.shape[-1]), 0),
      moving,
      still,
    )
    columns = gaps["kernel"] + gaps["bias"]
    return jnp.mean(columns if learn_cost else columns[: len(columns) // 2])

  logged, randomised = params["head"], params["randomised"]
  value = distance(logged, randomised)
  if direction == "both":
    value += distance(randomised, logged)
  return value


def _trunk_squares(params: Any) -> jax.Array:
  trunk = [
    layer["kernel"]
    for name, layer in params.items()
    if name not in ("head", "randomised")
  ]
  return sum((jnp.sum(kernel**2) for kernel in trunk), jnp.zeros(()))


def embeddings_loss(
  network: Network,
  params: Any,
  obs: Samples,
  rct: Samples,
  settings: CausalEmbeddingsConfig,
  *,
  learn_cost: bool = True,
) -> jax.Array:
  """Computes CausE's loss of an OBS and an RCT batch, scaled units.

  Args:
    network: the plain network (one side).
    params: of the two-sided network.
    obs: OBS rows.
    rct: RCT rows.
    settings: beta, direction, the trunk's decay.
    learn_cost: False where the arms' costs are known: they count 0.
  """
  logged = network.apply(params, obs.features)
  randomised = network.apply(randomised_side(params), rct.features)
  loss = factual_loss(logged, obs, learn_cost=learn_cost)
  loss += factual_loss(randomised, rct, learn_cost=learn_cost)
  loss += settings.discrepancy * discrepancy(
    params, direction=settings.direction, learn_cost=learn_cost
  )
  return loss + settings.trunk_decay * _trunk_squares(params)


def make_causal_embeddings(config: Config) -> Method:
  """CausE: OBS and RCT rows share a trunk, and their output layers attract."""
  settings, source = config.causal_embeddings, config.obs
  network = make_target(config.network)
  both = two_sided(network, settings.direction)

  def learn(key, state, batch, aux):
    del key

    def loss(params):
      return embeddings_loss(
        network,
        params,
        batch.samples,
        batch.rct,
        settings,
        learn_cost=state.scale.learn_cost,
      )

    value, gradient = jax.value_and_grad(loss)(state.target)
    return guarded_update(
      state, value, gradient, batch.samples.weight, source, aux.total
    )

  stage = batch_stage(
    source,
    learn,
    apply=money_apply(both),
    enter=restart(both, source),
    fixed=schedule("pair", source),
    reads="pair",
  )
  return Method(
    name="CausE",
    init=plain_init(both, source),
    stages=(stage,),
    predict=money_apply(both),
  )


METHODS = {"CausE": make_causal_embeddings}
