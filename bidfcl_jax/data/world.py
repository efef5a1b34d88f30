"""A simulated world: random response functions, true outcomes, old policy.

One world is a draw of six smooth random functions of a customer's latent
attributes g, and the stand-in of the paper's private marketing data built on
them (simulator.md): S1 five discounts, S2 eight money-off arms, S3
re-activation (S1 in which offers earn most of the revenue). With a hidden
confounder u ~ N(0, 1) and the discount level l_j of arm j,

  p_j(x, u) = sigmoid(intercept + 2 f_base + kappa u + beta phi_j)
  r = y exp(m + .3 f_basket + .25 kappa u + .3 eps),  y ~ Bernoulli(p_j)
  c = l_j r Bernoulli(.9)

(S2: r = y). The old policy that logged OBS likes arms by a distorted estimate
of their gain, and pushes dear arms to customers with high u, which no method
sees. Functions here are pure and work on any number of rows; the caller
chunks them.
"""

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import expit, softmax

from bidfcl_jax import keys
from bidfcl_jax.config import SimulatorConfig
from bidfcl_jax.types import Outcomes

CALIBRATION_ROWS = 20_000
REDEEMED = 0.9
_FUNCTIONS = ("base", "sens", "sat", "basket", "old", "conf")
_BINARY, _HEAVY = 3, 6
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class Kind(NamedTuple):
  """Constants of a kind of world; `basket` is (m, f_basket, u, eps)."""

  levels: tuple[float, ...]
  intercept: float
  sensitivity: float
  saturation: float
  basket: tuple[float, float, float, float]
  budget_arm: int


KINDS = {
  "S1": Kind(
    levels=(0.0, 0.05, 0.10, 0.15, 0.20),
    intercept=-1.5,
    sensitivity=2.5,
    saturation=0.1,
    basket=(3.4, 0.3, 0.25, 0.3),
    budget_arm=2,
  ),
  # exp(0) = 1: the revenue of S2 is the conversion itself.
  "S2": Kind(
    levels=tuple(float(level) for level in range(8)),
    intercept=-1.5,
    sensitivity=2.0,
    saturation=3.5,
    basket=(0.0, 0.0, 0.0, 0.0),
    budget_arm=3,
  ),
}
KINDS["S3"] = KINDS["S1"]._replace(intercept=-4.0, sensitivity=3.5)


class RandomFunction(NamedTuple):
  """f(g) = (sum_k a_k tanh(w_k . g_{S_k} + b_k) - mean) / sd, three terms."""

  amplitude: np.ndarray
  slope: np.ndarray
  entries: np.ndarray
  offset: np.ndarray
  mean: float = 0.0
  sd: float = 1.0

  def __call__(self, latent: np.ndarray) -> np.ndarray:
    """Returns `[n]` values at latent `[n, d]`."""
    total = np.zeros(len(latent))
    for a, w, pair, b in zip(*self[:4], strict=True):
      total += a * np.tanh(latent[:, pair] @ w + b)
    return (total - self.mean) / self.sd


class World(NamedTuple):
  """One draw of the law: what `simulate` samples people from."""

  config: SimulatorConfig
  kind: Kind
  functions: dict[str, RandomFunction]
  old_price: float
  old_scale: float


class Individuals(NamedTuple):
  """What outcomes and the old policy need to know of n individuals.

  Attributes:
    logit: `[n]` of buying without an offer, at u = 0.
    lift: `[n, M]` beta phi_j, what arm j adds to the logit.
    basket: `[n]` mean log basket at u = 0.
    distortion: `[n]` exp(.6 f_old), the old policy's error about gains.
    confounding: `[n]` gamma(x).
  """

  logit: np.ndarray
  lift: np.ndarray
  basket: np.ndarray
  distortion: np.ndarray
  confounding: np.ndarray


def draw_latent(rng: np.random.Generator, rows: int, d: int) -> np.ndarray:
  """Returns `[rows, d]`: N(0, .5^|a-b|), the last three binarised."""
  latent = rng.standard_normal((rows, d))
  for j in range(1, d):
    latent[:, j] = 0.5 * latent[:, j - 1] + np.sqrt(0.75) * latent[:, j]
  latent[:, -_BINARY:] = (latent[:, -_BINARY:] > 0.5) - 0.3085
  return latent


def visible_features(latent: np.ndarray) -> np.ndarray:
  """Returns x `[n, d]`: the six entries before the binary ones heavy-tailed."""
  features = latent.copy()
  heavy = slice(-_BINARY - _HEAVY, -_BINARY)
  features[:, heavy] = np.minimum(np.exp(latent[:, heavy]), 20.0)
  features[:, heavy] = (features[:, heavy] - 1.6487) / 2.161
  return features


def _random_function(
  rng: np.random.Generator, calibration: np.ndarray
) -> RandomFunction:
  d = calibration.shape[1]
  raw = RandomFunction(
    amplitude=rng.standard_normal(3),
    slope=rng.standard_normal((3, 2)),
    entries=np.stack([rng.choice(d, 2, replace=False) for _ in range(3)]),
    offset=0.5 * rng.standard_normal(3),
  )
  values = raw(calibration)
  return raw._replace(mean=values.mean(), sd=values.std())


def individuals(world: World, latent: np.ndarray) -> Individuals:
  """Evaluates the world's functions at latent `[n, d]`."""
  kind, config = world.kind, world.config
  f = {name: function(latent) for name, function in world.functions.items()}
  s = 1.3 * (-0.6 * f["base"] + 0.8 * f["sens"])
  beta = np.clip(kind.sensitivity * np.exp(s - 1.3**2 / 2), 0, 6)
  rho = (kind.saturation * np.exp(0.5 * f["sat"]))[:, None]
  levels = np.asarray(kind.levels)
  phi = np.expm1(-levels / rho) / np.expm1(-levels[-1] / rho)
  if config.confounding == "segment":
    confounding = config.gamma * expit(3 * f["conf"])
  else:
    confounding = config.gamma * (0.5 + f["conf"])
  return Individuals(
    logit=kind.intercept + 2 * f["base"],
    lift=beta[:, None] * phi,
    basket=kind.basket[0] + kind.basket[1] * f["basket"],
    distortion=np.exp(0.6 * f["old"]),
    confounding=confounding,
  )


def conversion(world: World, people: Individuals, u: np.ndarray) -> np.ndarray:
  """Returns `[n, M]` p_j(x, u), the probability of buying under each arm."""
  logit = people.logit + world.config.kappa * u
  return expit(logit[:, None] + people.lift)


def revenue_given_u(
  world: World, people: Individuals, u: np.ndarray
) -> np.ndarray:
  """Returns `[n, M]` E[r_j | x, u], original units."""
  _, _, by_u, noise = world.kind.basket
  basket = people.basket + by_u * world.config.kappa * u + noise**2 / 2
  return conversion(world, people, u) * np.exp(basket)[:, None]


def expected_outcomes(world: World, people: Individuals) -> Outcomes:
  """Returns the true R_j(x), C_j(x), `[n, M]`, original units.

  The mean over u by 15-node Gauss-Hermite, closed form over the rest.
  """
  revenue = np.zeros_like(people.lift)
  for node, weight in zip(_NODES, _WEIGHTS, strict=True):
    u = np.full(len(people.logit), node)
    revenue += weight * revenue_given_u(world, people, u)
  return Outcomes(revenue, REDEEMED * np.asarray(world.kind.levels) * revenue)


def _believed(world: World, people: Individuals):
  """Returns what the old policy believes each arm gains and costs, [n, M]."""
  revenue = revenue_given_u(world, people, np.zeros(len(people.logit)))
  cost = REDEEMED * np.asarray(world.kind.levels) * revenue
  gain = (revenue - revenue[:, :1]) * people.distortion[:, None]
  return gain, cost - cost[:, :1]


def _preference(world: World, people: Individuals) -> np.ndarray:
  gain, cost = _believed(world, people)
  q = gain - world.old_price * cost
  return q - q.mean(axis=1, keepdims=True)


def logging_policy(
  world: World, people: Individuals, u: np.ndarray
) -> np.ndarray:
  """Returns `[n, M]` P(t = j | x, u) of the policy that logged OBS."""
  arms, overlap = len(world.kind.levels), world.config.overlap
  direction = np.linspace(-1, 1, arms)
  z = 1.5 * _preference(world, people) / world.old_scale
  z += (people.confounding * u)[:, None] * direction
  return (1 - overlap) * softmax(z, axis=1) + overlap / arms


def make_world(key: jax.Array, config: SimulatorConfig) -> World:
  """Draws a world; its scales are fixed on a calibration sample of its own.

  Args:
    key: of the world alone; people are drawn from other streams.
    config: kind, features, confounding, gamma, kappa and overlap are read.
  """
  rng = keys.host_generator(keys.stream(key, "calibration"))
  latent = draw_latent(rng, CALIBRATION_ROWS, config.features)
  rng = keys.host_generator(keys.stream(key, "functions"))
  functions = {name: _random_function(rng, latent) for name in _FUNCTIONS}
  kind = KINDS[config.kind]
  world = World(config, kind, functions, old_price=0.0, old_scale=1.0)
  people = individuals(world, latent)
  gain, cost = _believed(world, people)
  middle = len(kind.levels) // 2
  slopes = gain[:, middle] / cost[:, middle]
  world = world._replace(old_price=float(np.median(slopes)))
  q = _preference(world, people)
  return world._replace(old_scale=float(np.sqrt(np.mean(q**2))))
