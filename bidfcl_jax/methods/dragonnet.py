"""DragonNet (Shi, Blei, Veitch, NeurIPS 2019, arXiv 1906.02120) for M arms.

One trunk serves the outcomes F and a propensity head g, one linear layer with a
softmax; 2M scalars epsilon tie both (baselines.md 3.5):

  L = mean MSE_t + a mean CE(t, g(x)) + b mean TR
  TR = (r - F^r_t - eps^r_t / g_t)^2 + (c - F^c_t - eps^c_t / g_t)^2

b is switched on after a share of the steps, since an untrained g makes TR
explode. Predictions are F alone: F + eps / g is wild for an individual.
"""

import jax
import jax.numpy as jnp

from bidfcl_jax.config import Config
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.losses.value import received, weighted_mean
from bidfcl_jax.methods.method import Method
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.updates import (
  Schedule,
  money_apply,
  plain_init,
  restart,
  schedule,
)
from bidfcl_jax.models import Network, make_target
from bidfcl_jax.models.heads import linear_heads
from bidfcl_jax.types import Array, Outcomes, Samples


def targeted_loss(
  predicted: Outcomes,
  samples: Samples,
  epsilon: Outcomes,
  propensity: Array,
  *,
  floor: float,
  learn_cost: bool = True,
) -> jax.Array:
  """Targeted regularisation: the mean of TR above.

  Args:
    predicted: F `[n, M]`, scaled units.
    samples: rows in the same units; weight 0 leaves a row out.
    epsilon: `[M]` scalars of each outcome.
    propensity: g `[n, M]`.
    floor: least g in the denominator.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Scalar; 0 where all weights are 0.
  """
  share = jnp.maximum(received(propensity, samples.arm), floor)
  moved = jax.tree.map(
    lambda cells, scalars: (
      received(cells, samples.arm) + scalars[samples.arm] / share
    ),
    predicted,
    epsilon,
  )
  error = (samples.revenue - moved.revenue) ** 2
  if learn_cost:
    error += (samples.cost - moved.cost) ** 2
  return weighted_mean(error, samples.weight)


def with_propensity(network: Network) -> Network:
  """Adds g and epsilon to a network's parameters; applies F alone.

  F is drawn as TSM-SL draws it from the same key; epsilon begins at 0.
  """

  def init(key, features, arms):
    outcomes = network.init(key, features, arms)
    kernel = outcomes["head"]["kernel"]
    zeros = jnp.zeros(arms, kernel.dtype)
    draw = jax.nn.initializers.lecun_normal()
    own = draw(jax.random.fold_in(key, 1), (len(kernel), arms), kernel.dtype)
    return {
      "outcomes": outcomes,
      "propensity": {"kernel": own, "bias": zeros},
      "epsilon": Outcomes(zeros, zeros),
    }

  return Network(
    init,
    lambda params, x: network.apply(params["outcomes"], x),
    lambda params, x: network.represent(params["outcomes"], x),
  )


def make_dragonnet(config: Config) -> Method:
  """DragonNet on OBS rows."""
  settings, source = config.dragonnet, config.obs
  network = with_propensity(make_target(config.network))

  def loss(target, samples, rows, state, aux: Schedule):
    del rows
    units = network.represent(target, samples.features)
    predicted = linear_heads(target["outcomes"], units)
    head = target["propensity"]
    log_share = jax.nn.log_softmax(units @ head["kernel"] + head["bias"])
    learn_cost = state.scale.learn_cost
    surprise = -weighted_mean(received(log_share, samples.arm), samples.weight)
    targeted = targeted_loss(
      predicted,
      samples,
      target["epsilon"],
      jnp.exp(log_share),
      floor=settings.floor,
      learn_cost=learn_cost,
    )
    begun = state.step >= settings.delay * aux.total
    value = factual_loss(predicted, samples, learn_cost=learn_cost)
    value += settings.propensity_weight * surprise
    value += jnp.where(begun, settings.targeted_weight, 0) * targeted
    return value, {"propensity_log_loss": surprise, "targeted": targeted}

  apply = money_apply(network)
  stage = loss_stage(
    source,
    loss,
    apply=apply,
    enter=restart(network, source),
    fixed=schedule("obs", source),
  )
  return Method(
    name="DragonNet",
    init=plain_init(network, source),
    stages=(stage,),
    predict=apply,
  )


METHODS = {"DragonNet": make_dragonnet}
