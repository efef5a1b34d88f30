"""Rivals that give effects, or none, in place of outcomes (baselines.md 6).

  GROUND    Kallus, Puli, Shalit (NeurIPS 2018), "Removing hidden confounding by
            experimental grounding": effect of arm j against control =
            F_OBS,j - F_OBS,0 + theta_j' (1, x), where theta_j regresses
            q_i y_i - (F_OBS,j - F_OBS,0)(x_i) on (1, x) over RCT rows of the
            two arms, q = 1[t = j] / e_j - 1[t = 0] / e_0, e the shares among
            them; ridge in place of least squares
  RESPONSE  the response model of practice: who is expected to buy gets the
            offer. E[r | x] is learnt from OBS whatever the arm, and

              r_hat_j = E[r | x] rbar_j / rbar,    c_hat_j = cbar_j

            with the means of RCT arms: everyone's effect is the same share of
            the response, and a cost that followed the response as well would
            leave nothing to rank by (our choice; the source names none)

Both take their level from the RCT means of the arms.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.methods.members import host_stage
from bidfcl_jax.methods.method import Method, State, to_money, to_scaled
from bidfcl_jax.methods.repairs import on_device, ridge_fit, with_intercept
from bidfcl_jax.methods.two_stage import obs_stage
from bidfcl_jax.methods.updates import plain_init
from bidfcl_jax.models import make_target
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Array, Outcomes, Samples, Study


def arm_means(samples: Samples, arms: int) -> Outcomes:
  """Returns weighted mean outcomes of each arm `[M]`, float64; 0 if empty."""
  arm, weight = np.asarray(samples.arm), np.asarray(samples.weight, np.float64)
  total = np.bincount(arm, weight, arms)
  total = np.where(total > 0, total, 1)

  def mean(values):
    return np.bincount(arm, weight * np.asarray(values), arms) / total

  return Outcomes(mean(samples.revenue), mean(samples.cost))


def _effects(cells: Array) -> np.ndarray:
  cells = np.asarray(cells, np.float64)
  return cells - cells[:, :1]


def grounding_slopes(
  effects: np.ndarray, samples: Samples, observed: Array, ridge: float
) -> np.ndarray:
  """Fits theta of each arm against control.

  Args:
    effects: of the OBS model `[n, M]`, 0 in column 0.
    samples: RCT rows.
    observed: `[n]` the outcome, in the units of `effects`.
    ridge: penalty.

  Returns:
    `[M, 1 + d]` float64; row 0 is 0.
  """
  arm, x = np.asarray(samples.arm), with_intercept(samples.features)
  slopes = [np.zeros(x.shape[1])]
  for j in range(1, effects.shape[1]):
    mine = (arm == 0) | (arm == j)
    treated = arm[mine] == j
    share = treated.mean()
    signed = np.where(treated, 1 / share, -1 / (1 - share))
    left = signed * np.asarray(observed, np.float64)[mine] - effects[mine, j]
    slopes.append(ridge_fit(x[mine], left, ridge))
  return np.stack(slopes)


@struct.dataclass
class GroundedState(State):
  """State of GROUND; `target` is the OBS model.

  Attributes:
    slopes: theta, Outcomes of `[M, 1 + d]`, scaled units.
    level: RCT means of the control, Outcomes of scalars, scaled units.
  """

  slopes: Outcomes
  level: Outcomes


def make_grounded(config: Config) -> Method:
  """GROUND: OBS effects plus a linear correction from the experiment."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)

  def init(key, study: Study) -> GroundedState:
    slopes = jnp.zeros((study.arms, study.obs.features.shape[1] + 1))
    none = jnp.zeros(())
    return GroundedState(
      **vars(plain(key, study)),
      slopes=Outcomes(slopes, slopes),
      level=Outcomes(none, none),
    )

  def enter(key, state, study: Study):
    del key
    rct = to_scaled(study.rct_train, state.scale)
    effects = jax.tree.map(
      _effects, apply_in_chunks(network.apply, state.target, rct.features)
    )
    ridge, means = config.simple.ridge, arm_means(rct, study.arms)
    slopes = Outcomes(
      grounding_slopes(effects.revenue, rct, rct.revenue, ridge),
      grounding_slopes(effects.cost, rct, rct.cost, ridge),
    )
    return state.replace(
      slopes=on_device(slopes),
      level=on_device(Outcomes(means.revenue[0], means.cost[0])),
    )

  def predict(state: GroundedState, features) -> Outcomes:
    def one(cells, slopes, level):
      linear = slopes[:, 0] + features @ slopes[:, 1:].T
      return level + cells - cells[:, :1] + linear

    outcomes = network.apply(state.target, features)
    cells = jax.tree.map(one, outcomes, state.slopes, state.level)
    return to_money(cells, state.scale)

  return Method(
    name="GROUND",
    init=init,
    stages=(obs_stage(config, network), host_stage("ground", enter)),
    predict=predict,
  )


@struct.dataclass
class ResponseState(State):
  """State of RESPONSE; column 0 of the target's revenue is E[r | x].

  Attributes:
    means: RCT means of the arms, Outcomes of `[M]`, scaled units.
    overall: RCT mean of revenue, scaled units.
  """

  means: Outcomes
  overall: jax.Array


def make_response(config: Config) -> Method:
  """RESPONSE: the same relative effect for everyone."""
  network = make_target(config.network)
  plain = plain_init(network, config.obs)
  stage = obs_stage(config, network)

  def init(key, study: Study) -> ResponseState:
    base = plain(key, study)
    rct = to_scaled(study.rct_train, base.scale)
    overall = np.mean(np.asarray(rct.revenue, np.float64))
    if not overall > 0:
      raise ValueError(
        f"RESPONSE needs a positive mean revenue in the RCT, not {overall:.3g}:"
        " an effect that is a share of the response has no sense there"
      )
    return ResponseState(
      **vars(base),
      means=on_device(arm_means(rct, study.arms)),
      overall=on_device(overall),
    )

  def step(key, state, block, aux):
    blind = block.samples.replace(arm=jnp.zeros_like(block.samples.arm))
    return stage.step(key, state, block._replace(samples=blind), aux)

  def predict(state: ResponseState, features) -> Outcomes:
    response = network.apply(state.target, features).revenue[:, :1]
    revenue = response * state.means.revenue / state.overall
    cost = jnp.broadcast_to(state.means.cost, revenue.shape)
    return to_money(Outcomes(revenue, cost), state.scale)

  return Method(
    name="RESPONSE",
    init=init,
    stages=(stage._replace(step=step, apply=predict),),
    predict=predict,
  )


METHODS = {"GROUND": make_grounded, "RESPONSE": make_response}
