"""DHCL: a network whose output is the return on investment of an arm.

Zhou, Li, Jiang, Zheng, Wang (AAAI 2023, arXiv 2211.15728), RCT rows only:

  two arms    sigmoid(s) = ROI of the treatment (losses/uplift.py)
  more arms   q_k = half the marginal ROI of the step from one arm to the next

Arms are put in the order of their mean cost on RCT (DPM means arms of growing
intensity; for arms that differ in kind it says nothing). Returns become
Outcomes through arm-level cost steps D_k counted on RCT:

  c_hat_j = mean cost of the arm,    r_hat_j = sum_{k < j} m_k D_k

with m the marginal ROI, first made non-increasing in k (pool adjacent violators
of weight D_k), so that argmax_j r_hat - lambda c_hat takes the step while
m_k >= lambda. Revenue is rescaled so that the average ROI of the dearest arm
is `dhcl.mean_roi`: the losses need returns below 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import Config, SourceConfig
from bidfcl_jax.losses.uplift import direct_roi_loss, marginal_roi_loss
from bidfcl_jax.methods.effects import arm_means
from bidfcl_jax.methods.method import Method, State, study_scale
from bidfcl_jax.methods.repairs import on_device
from bidfcl_jax.methods.stages import loss_stage
from bidfcl_jax.methods.updates import fresh_state, go_on, total_steps
from bidfcl_jax.models import make_scores
from bidfcl_jax.types import Array, Outcomes, Study


@struct.dataclass
class RoiState(State):
  """State of DHCL.

  Attributes:
    rank: `[M]` int32, place of each arm in the order of mean cost.
    cost: `[M]` mean cost by rank, original units, increasing.
    unit: scalar; revenue times `unit` is what the network learns, and
      predicted returns are divided by it.
  """

  rank: jax.Array
  cost: jax.Array
  unit: jax.Array


class Fixed(NamedTuple):
  """aux: steps of the stage, and the arms' shares `[M]` by rank."""

  total: jax.Array
  propensity: jax.Array


def nonincreasing(steps: Array, weight: Array) -> jax.Array:
  """Returns the weighted isotonic regression of each row, non-increasing.

  The fit at k is min_{a <= k} max_{b >= k} of the weighted mean of steps a..b:
  for a handful of steps this is pool adjacent violators without its loop.

  Args:
    steps: `[n, K]`.
    weight: `[K]`, positive.
  """
  count = steps.shape[1]
  rows = []
  for k in range(count):
    smallest = None
    for a in range(k + 1):
      sums = jnp.cumsum((steps * weight)[:, a:], axis=1)
      means = sums / jnp.cumsum(weight[a:])
      largest = jnp.max(means[:, k - a :], axis=1)
      smallest = largest if smallest is None else jnp.minimum(smallest, largest)
    rows.append(smallest)
  return jnp.stack(rows, axis=1)


def cost_order(study: Study) -> tuple[np.ndarray, np.ndarray, float]:
  """Puts the arms in order of mean cost.

  Args:
    study: known costs count as they are, others by their RCT mean.

  Returns:
    (rank `[M]`, mean cost by rank `[M]`, effect of the dearest arm against the
    cheapest on mean revenue). Steps of cost are at least a thousandth of the
    mean step.

  Raises:
    ValueError: all arms cost the same.
  """
  means = arm_means(study.rct_train, study.arms)
  cost = means.cost if study.known_cost is None else study.known_cost
  cost = np.asarray(cost, np.float64)
  order = np.argsort(cost, kind="stable")
  cost = cost[order]
  whole = cost[-1] - cost[0]
  if not whole > 0:
    raise ValueError(
      f"DHCL ranks by return on cost, but all {study.arms} arms cost "
      f"{cost[0]:.4g} on the RCT; use a method that predicts outcomes"
    )
  least = 1e-3 * whole / (len(cost) - 1)
  steps = np.maximum(np.diff(cost), least)
  cost = cost[0] + np.concatenate([[0.0], np.cumsum(steps)])
  revenue = means.revenue[order]
  return np.argsort(order), cost, float(revenue[-1] - revenue[0])


def make_dhcl(config: Config) -> Method:
  """DHCL on RCT: the direct form for two arms, the marginal one for more.

  Raises:
    ValueError: checkpoints chosen by a squared error, which returns have not.
  """
  if config.training.checkpoint == "valid_mse":
    raise ValueError(
      "DHCL predicts returns on cost, no level of revenue: "
      "training.checkpoint=valid_mse has no error to read; take ema_last or "
      "valid_eom"
    )
  own = config.dhcl
  source = SourceConfig(
    batch=own.batch,
    epochs=own.epochs,
    learning_rate=own.learning_rate,
    weight_decay=0.0,
  )

  network = make_scores(config.network)

  def draw(key, study: Study):
    return network.init(key, study.obs.features.shape[1], study.arms - 1)

  def init(key, study: Study) -> RoiState:
    rank, cost, gain = cost_order(study)
    roi = gain / (cost[-1] - cost[0])
    scale = study_scale(study)
    # A treatment that earns (almost) nothing on average leaves only the spread
    # of the outcomes to be scaled by.
    spread = scale.cost / scale.revenue
    unit = min(own.mean_roi / roi, 10 * spread) if roi > 0 else spread
    return RoiState(
      **vars(fresh_state(draw(key, study), source, scale)),
      rank=jnp.asarray(rank, jnp.int32),
      cost=on_device(cost),
      unit=on_device(unit),
    )

  def enter(key, state, study: Study):
    state = state.replace(target=draw(key, study))
    return go_on(source)(key, state, study)

  def fixed(state, study: Study) -> Fixed:
    shares = np.asarray(study.propensity)[np.argsort(state.rank)]
    return Fixed(
      total_steps(study, "rct", source, source.epochs), on_device(shares)
    )

  def loss(target, samples, rows, state, aux: Fixed):
    del rows
    scale = state.scale
    cost = samples.cost * scale.cost
    if not scale.learn_cost:
      cost = scale.known_cost[samples.arm]
    # Both in units of the dearest arm's cost: the loss is then of size 1, and
    # the decay means the same for every currency.
    span = state.cost[-1] - state.cost[0]
    samples = samples.replace(
      arm=state.rank[samples.arm],
      revenue=samples.revenue * scale.revenue * state.unit / span,
      cost=cost / span,
    )
    cells = network.apply(target, samples.features)
    if cells.shape[1] == 1:
      value = direct_roi_loss(cells[:, 0], samples)
    else:
      value = marginal_roi_loss(jax.nn.sigmoid(cells), samples, aux.propensity)
    kernels = [leaf for leaf in jax.tree.leaves(target) if leaf.ndim == 2]
    return value + own.l2 * sum(jnp.sum(k**2) for k in kernels), {}

  def predict(state: RoiState, features) -> Outcomes:
    ratio = jax.nn.sigmoid(network.apply(state.target, features))
    factor = 1.0 if ratio.shape[1] == 1 else 2.0
    steps = jnp.diff(state.cost)
    returns = nonincreasing(factor * ratio / state.unit, steps)
    revenue = jnp.pad(jnp.cumsum(returns * steps, axis=1), ((0, 0), (1, 0)))
    revenue = revenue[:, state.rank]
    cost = state.cost[state.rank]
    if not state.scale.learn_cost:
      cost = state.scale.known_cost
    return Outcomes(revenue, jnp.broadcast_to(cost, revenue.shape))

  return Method(
    name="DHCL",
    init=init,
    stages=(
      loss_stage(
        source,
        loss,
        apply=predict,
        enter=enter,
        fixed=fixed,
        name="roi",
        reads="rct",
      ),
    ),
    predict=predict,
  )


METHODS = {"DHCL": make_dhcl}
