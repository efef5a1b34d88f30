"""Simulated studies: biased OBS, a small RCT, every potential outcome known.

The world's law is in world.py; here people are drawn from it and become a
Study (simulator.md). World and parts have random streams of their own: the
same key gives the same world whatever the sizes, and the same people whatever
the method. Work goes in chunks, so memory peaks near twice the size of the
result (the raw features and the standardised ones).
"""

import jax
import numpy as np

from bidfcl_jax import keys
from bidfcl_jax.config import SimulatorConfig
from bidfcl_jax.data import world as worlds
from bidfcl_jax.data.assemble import Rows, assemble
from bidfcl_jax.types import Outcomes, Study, Truth

_CHUNK = 16_384
_MIN_FEATURES = 12


def _draw_arm(rng: np.random.Generator, policy: np.ndarray) -> np.ndarray:
  """Draws an arm `[n]` from each row of policy `[n, M]`."""
  above = rng.random((len(policy), 1)) > np.cumsum(policy, axis=1)[:, :-1]
  return above.sum(axis=1)


def _draw_outcomes(
  rng: np.random.Generator,
  world: worlds.World,
  people: worlds.Individuals,
  u: np.ndarray,
  arm: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Draws revenue and cost `[n]` of the arm received, original units."""
  rows = np.arange(len(arm))
  buys = rng.random(len(arm)) < worlds.conversion(world, people, u)[rows, arm]
  _, _, by_u, noise = world.kind.basket
  log_basket = people.basket + by_u * world.config.kappa * u
  log_basket += noise * rng.standard_normal(len(arm))
  revenue = buys * np.exp(log_basket)
  redeemed = rng.random(len(arm)) < worlds.REDEEMED
  return revenue, np.asarray(world.kind.levels)[arm] * revenue * redeemed


def draw_part(
  world: worlds.World,
  key: jax.Array,
  rows: int,
  *,
  logged: bool = False,
  with_outcomes: bool = False,
) -> tuple[Rows, Truth]:
  """Draws people, their arms and what followed.

  Args:
    world: from make_world.
    key: of this part.
    rows: n.
    logged: arms by the old policy, else uniform.
    with_outcomes: keep the true R_j(x), C_j(x) too.

  Returns:
    (Rows with float32 raw features; Truth with outcomes `[n, M]` if asked for
    and logging propensities `[n, M]` given the hidden u if logged).
  """
  rng = keys.host_generator(key)
  arms, d = len(world.kind.levels), world.config.features
  # float32: at the paper's sizes the raw features alone take tens of GB.
  features = np.empty((rows, d), np.float32)
  arm = np.empty(rows, np.int32)
  revenue, cost = np.empty(rows), np.empty(rows)
  policy = np.empty((rows, arms)) if logged else None
  shape = (rows, arms) if with_outcomes else (0, arms)
  true_revenue, true_cost = np.empty(shape), np.empty(shape)
  for start in range(0, rows, _CHUNK):
    at = slice(start, min(start + _CHUNK, rows))
    size = at.stop - at.start
    latent = worlds.draw_latent(rng, size, d)
    features[at] = worlds.visible_features(latent)
    people = worlds.individuals(world, latent)
    u = rng.standard_normal(size)
    if policy is not None:
      policy[at] = worlds.logging_policy(world, people, u)
      arm[at] = _draw_arm(rng, policy[at])
    else:
      arm[at] = rng.integers(arms, size=size)
    revenue[at], cost[at] = _draw_outcomes(rng, world, people, u, arm[at])
    if with_outcomes:
      truth = worlds.expected_outcomes(world, people)
      true_revenue[at], true_cost[at] = truth.revenue, truth.cost
  outcomes = Outcomes(true_revenue, true_cost) if with_outcomes else None
  return Rows(features, arm, revenue, cost), Truth(outcomes, policy)


def _check(config: SimulatorConfig) -> None:
  if config.kind not in worlds.KINDS:
    raise ValueError(
      f"simulator.kind={config.kind!r} is not one of {', '.join(worlds.KINDS)}"
    )
  if config.confounding not in ("segment", "signed"):
    raise ValueError(
      f"simulator.confounding={config.confounding!r} is not one of segment, "
      "signed"
    )
  if config.features < _MIN_FEATURES:
    raise ValueError(
      f"simulator.features={config.features} must be at least "
      f"{_MIN_FEATURES}: three are binary and six heavy-tailed"
    )
  if not 0 <= config.overlap <= 1:
    raise ValueError(
      f"simulator.overlap={config.overlap} must lie between 0 and 1"
    )
  for name in ("n_obs", "n_rct", "n_valid", "n_test"):
    if getattr(config, name) < 1:
      raise ValueError(
        f"simulator.{name}={getattr(config, name)} must be at least 1"
      )


def _arm_names(kind: str) -> tuple[str, ...]:
  levels = worlds.KINDS[kind].levels[1:]
  if kind == "S2":
    return ("none", *(f"{level:g}_off" for level in levels))
  return ("none", *(f"{100 * level:g}%" for level in levels))


def simulate(key: jax.Array, config: SimulatorConfig) -> Study:
  """Draws a world and a study from it.

  Args:
    key: a new key is a new world with new people.
    config: kind, sizes, confounding; see SimulatorConfig.

  Returns:
    Study with budget = mean true cost over the test individuals of giving
    everyone the 10 % discount (S1, S3) or 3 off (S2), arm shares counted on
    RCT-train, and truth: outcomes `[n_test, M]` and logging `[n_obs, M]`
    (the latter given the hidden u as well), float64.

  Raises:
    ValueError: an option outside its range, or an RCT too small to hold every
      arm.
  """
  _check(config)
  world = worlds.make_world(keys.stream(key, "world"), config)

  def part(name: str, rows: int, **options):
    return draw_part(world, keys.stream(key, name), rows, **options)

  obs, logs = part("obs", config.n_obs, logged=True)
  rct_train, _ = part("rct_train", config.n_rct)
  rct_valid, _ = part("rct_valid", config.n_valid)
  rct_test, test = part("rct_test", config.n_test, with_outcomes=True)
  budget = test.outcomes.cost[:, world.kind.budget_arm].mean()
  return assemble(
    obs=obs,
    rct_train=rct_train,
    rct_valid=rct_valid,
    rct_test=rct_test,
    arm_names=_arm_names(config.kind),
    feature_names=tuple(f"x{j}" for j in range(config.features)),
    budget=budget,
    truth=Truth(outcomes=test.outcomes, logging=logs.logging),
  )
