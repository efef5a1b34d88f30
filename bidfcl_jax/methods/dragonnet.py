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
from bidfcl_jax.methods.method import Method, State, study_scale, to_money
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.updates import (
  Schedule,
  go_on,
  make_optimiser,
  total_steps,
)
from bidfcl_jax.models import make_target
from bidfcl_jax.models.heads import linear_heads
from bidfcl_jax.types import Array, Outcomes, Samples, Study


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


def _draw_target(network, key, study: Study):
  """Draws F as TSM-SL does from the same key, then g; epsilon is 0."""
  arms, features = study.arms, study.rct_train.features.shape[1]
  outcomes = network.init(key, features, arms)
  kernel = outcomes["head"]["kernel"]
  draw = jax.nn.initializers.lecun_normal()
  zeros = jnp.zeros(arms, kernel.dtype)
  return {
    "outcomes": outcomes,
    "propensity": {
      "kernel": draw(
        jax.random.fold_in(key, 1), (len(kernel), arms), kernel.dtype
      ),
      "bias": zeros,
    },
    "epsilon": Outcomes(zeros, zeros),
  }


def _check(config: Config) -> None:
  settings = config.dragonnet
  if not 0 < settings.floor <= 1:
    raise ValueError(
      f"dragonnet.floor={settings.floor} must be above 0 and at most 1"
    )
  if not 0 <= settings.delay <= 1:
    raise ValueError(f"dragonnet.delay={settings.delay} must be from 0 to 1")


def make_dragonnet(config: Config) -> Method:
  """DragonNet on OBS rows."""
  _check(config)
  settings, source = config.dragonnet, config.obs
  network = make_target(config.network)

  def init(key, study: Study) -> State:
    target = _draw_target(network, key, study)
    return State(
      step=jnp.zeros((), jnp.int32),
      target=target,
      optimiser=make_optimiser(source).init(target),
      scale=study_scale(study),
    )

  def enter(key, state, study: Study):
    target = _draw_target(network, key, study)
    return go_on(source)(key, state.replace(target=target), study)

  def fixed(state, study: Study) -> Schedule:
    del state
    return Schedule(total_steps(study, "obs", source, source.epochs))

  def loss(target, samples, rows, state, aux: Schedule):
    del rows
    units = network.represent(target["outcomes"], samples.features)
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

  def apply(state, features):
    predicted = network.apply(state.target["outcomes"], features)
    return to_money(predicted, state.scale)

  stage = loss_stage(source, loss, apply=apply, enter=enter, fixed=fixed)
  return Method(name="DragonNet", init=init, stages=(stage,), predict=apply)


METHODS = {"DragonNet": make_dragonnet}
