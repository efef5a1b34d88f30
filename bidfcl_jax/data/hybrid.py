"""OBS + RCT out of one real RCT, by rejection sampling (data.md, section 4).

Rows are split by household into test, validation, RCT-train and a pool. A
logging policy tilts to dear arms for individuals with a high prognostic score,

  e_a(x) = p_a exp(k b_a s(x)) / Z(x),      e <- eps + (1 - M eps) e,

and a pool row is kept with probability (e_t(x) / p_t) / C, C the greatest
ratio over the pool. Kept rows look exactly as if the policy had logged them:
outcomes are real, P(x) is unchanged, the propensities are known, and the
kept share is 1/C (Keith et al., arXiv:2307.15176; Gentzel et al. 2021). The
score is fitted on controls of RCT-train alone, so no outcome of the pool
decides what is kept. Columns that drive the score and are then withheld from
all learners make the confounding hidden.
"""

from collections.abc import Sequence

import jax
import numpy as np
from absl import logging
from numpy.typing import ArrayLike
from scipy.special import softmax

from bidfcl_jax import keys
from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data.assemble import Rows, assemble, check_part
from bidfcl_jax.data.prognostic import prognostic_score
from bidfcl_jax.data.shares import counted_propensity, declared_propensity
from bidfcl_jax.data.splits import split
from bidfcl_jax.types import Study, Truth


def tilted_policy(
  score: np.ndarray,
  shares: np.ndarray,
  tilt: np.ndarray,
  *,
  strength: float,
  floor: float = 0.0,
) -> np.ndarray:
  """Returns the logging policy e `[n, M]` of step 2.

  Args:
    score: `[n]` standardised s(x).
    shares: `[M]` p, arm shares of the RCT.
    tilt: `[M]` b, rising with the price of the arm.
    strength: k; 0 gives e = p.
    floor: eps, the least propensity of an arm.

  Raises:
    ValueError: a floor outside [0, 1/M].
  """
  arms = len(shares)
  if not 0 <= floor * arms <= 1:
    raise ValueError(
      f"hybrid.floor={floor} must lie between 0 and 1/{arms}, the share of "
      "each arm in a uniform policy"
    )
  logits = np.log(shares) + strength * np.outer(score, tilt)
  return floor + (1 - arms * floor) * softmax(logits, axis=1)


def accept(
  policy: np.ndarray, shares: np.ndarray, arm: np.ndarray, key: jax.Array
) -> np.ndarray:
  """Rejection sampling: which pool rows the policy would have logged.

  C is the greatest ratio over the pool's rows and all arms, so that it does
  not depend on the arms that were drawn.

  Args:
    policy: `[n, M]` e(x).
    shares: `[M]` p.
    arm: `[n]` arms received in the RCT.
    key: of the draw.

  Returns:
    `[n]` bool, true with probability e_t(x) / p_t / C.
  """
  ratio = policy / shares
  chance = ratio[np.arange(len(arm)), arm] / ratio.max()
  return keys.host_generator(key).random(len(arm)) < chance


def _thinned(kept: np.ndarray, most: float, key: jax.Array) -> np.ndarray:
  """Returns `[n]` bool: at most a share of the rows, at random among kept."""
  rows, wanted = np.flatnonzero(kept), round(most * len(kept))
  if len(rows) < wanted:
    logging.warning(
      "the logging policy accepts %.1f %% of the pool, fewer than the wanted "
      "%.1f %%; lower hybrid.strength or set hybrid.clip for more OBS rows",
      100 * len(rows) / len(kept),
      100 * most,
    )
    return kept
  thinned = np.zeros_like(kept)
  thinned[keys.host_generator(key).permutation(rows)[:wanted]] = True
  return thinned


def _visible_columns(feature_names: Sequence[str], hidden) -> np.ndarray:
  """Returns the columns that stay; a one-hot block goes by its origin."""
  origin = [name.split("=", 1)[0] for name in feature_names]
  known = {*feature_names, *origin}
  unknown = [name for name in hidden if name not in known]
  if unknown:
    raise ValueError(
      f"hybrid.hidden names unknown columns {', '.join(unknown)}; the columns "
      f"are {', '.join(dict.fromkeys(origin))}"
    )
  stays = [
    name not in hidden and first not in hidden
    for name, first in zip(feature_names, origin, strict=True)
  ]
  if not any(stays):
    raise ValueError("hybrid.hidden withholds every column; leave one visible")
  return np.flatnonzero(stays)


def _checked_tilt(arm_tilt: ArrayLike | None, arms: int) -> np.ndarray:
  if arm_tilt is None:
    return np.linspace(0, 1, arms)
  tilt = np.asarray(arm_tilt, np.float64)
  if tilt.shape != (arms,) or not np.all(np.isfinite(tilt)):
    raise ValueError(
      f"arm_tilt {tilt.tolist()} must give one number for each of the {arms} "
      "arms"
    )
  return tilt


def hybrid_study(
  rows: Rows,
  key: jax.Array,
  config: HybridConfig,
  *,
  arm_names: Sequence[str],
  feature_names: Sequence[str],
  prognostic: ArrayLike,
  propensity: ArrayLike | None = None,
  known_cost: ArrayLike | None = None,
  budget: float | None = None,
  arm_tilt: ArrayLike | None = None,
  most_kept: float = 1.0,
) -> Study:
  """Makes a study with biased OBS out of a randomised data set.

  Args:
    rows: the whole RCT, raw; rows of one group go to one part.
    key: a new key is a new split and a new draw of OBS.
    config: shares of the parts, strength, floor, clip, hidden columns.
    arm_names: M names, control first.
    feature_names: d names; a category that was spread over columns is
      written `name=level`, and `hidden` may say `name`.
    prognostic: `[n]` outcome that the score predicts, 0/1 or real.
    propensity: `[M]` declared arm shares; None counts them (over all rows for
      the rejection, on RCT-train for the study).
    known_cost: see assemble.
    budget: see assemble.
    arm_tilt: `[M]` b; None is 0 .. 1 in equal steps.
    most_kept: share of the pool that OBS may have; accepted rows beyond it are
      dropped at random, which leaves the propensities as they are. A policy
      so strong that fewer are accepted logs a warning.

  Returns:
    Study whose truth holds the logging propensities `[n_obs, M]` of the kept
    rows, and no outcomes.

  Raises:
    ValueError: see split, prognostic_score, tilted_policy and assemble; an
      unknown hidden column; counts that differ.
  """
  check_part("the RCT", rows, arm_names, feature_names)
  arms, arm = len(arm_names), np.asarray(rows.arm)
  prognostic = np.asarray(prognostic, np.float64)
  if prognostic.shape != arm.shape:
    raise ValueError(
      f"prognostic has shape {prognostic.shape}, the arms {arm.shape}; give "
      "one outcome a row"
    )
  if not np.all(np.isfinite(prognostic)):
    raise ValueError("prognostic has cells that are not finite")
  columns = _visible_columns(feature_names, config.hidden)
  tilt = _checked_tilt(arm_tilt, arms)
  shares = (
    counted_propensity(arm, arms, names=arm_names)
    if propensity is None
    else declared_propensity(propensity, arms)
  )
  parts = split(
    np.arange(len(arm)) if rows.group is None else rows.group,
    {
      "test": config.test,
      "valid": config.valid,
      "rct": config.rct,
      "pool": 1 - config.test - config.valid - config.rct,
    },
    keys.stream(key, "split"),
  )
  controls = parts["rct"][arm[parts["rct"]] == 0]
  features = np.asarray(rows.features)
  pool = parts["pool"]
  score = np.zeros(len(pool))
  if config.strength != 0:
    score = prognostic_score(
      features[controls], prognostic[controls], features[pool]
    )
  if config.clip > 0:
    score = np.clip(score, -config.clip, config.clip)
  policy = tilted_policy(
    score, shares, tilt, strength=config.strength, floor=config.floor
  )
  kept = accept(policy, shares, arm[pool], keys.stream(key, "accept"))
  if most_kept < 1:
    kept = _thinned(kept, most_kept, keys.stream(key, "thin"))
  visible = rows._replace(features=features[:, columns])
  return assemble(
    obs=visible.take(pool[kept]),
    rct_train=visible.take(parts["rct"]),
    rct_valid=visible.take(parts["valid"]),
    rct_test=visible.take(parts["test"]),
    arm_names=arm_names,
    feature_names=[feature_names[j] for j in columns],
    propensity=propensity,
    known_cost=known_cost,
    budget=budget,
    truth=Truth(logging=policy[kept]),
  )
