"""The multi-head MLP that every method shares (paper, section 5.1).

One trunk, 2M linear outputs: M revenues, then M costs, both in scaled units
(each divided by its RCT-train standard deviation, no shift).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from bidfcl_jax.config import NetworkConfig
from bidfcl_jax.types import Outcomes

ACTIVATIONS = {"elu": nn.elu, "relu": nn.relu}


class MLP(nn.Module):
  """Dense layers with the last one's initial weights scaled down.

  Attributes:
    hidden: units per hidden layer.
    outputs: units of the last, linear layer.
    activation: a key of ACTIVATIONS.
    last_scale: factor on the initial weights of the last layer.
    last_bias: initial bias of the last layer.
  """

  hidden: tuple[int, ...]
  outputs: int
  activation: str = "elu"
  last_scale: float = 1.0
  last_bias: float = 0.0

  @nn.compact
  def __call__(self, features, *, represent: bool = False):
    """Maps `[n, d]` to `[n, outputs]`, or to the last hidden layer's units."""
    dtype = features.dtype
    x = features
    for units in self.hidden:
      x = nn.Dense(units, param_dtype=dtype)(x)
      x = ACTIVATIONS[self.activation](x)
    if represent:
      return x
    last = nn.initializers.variance_scaling(
      self.last_scale**2, "fan_in", "truncated_normal"
    )
    return nn.Dense(
      self.outputs,
      kernel_init=last if self.last_scale > 0 else nn.initializers.zeros,
      bias_init=nn.initializers.constant(self.last_bias),
      param_dtype=dtype,
      name="head",
    )(x)


class Network(NamedTuple):
  """A network as a pair of pure functions.

  Attributes:
    init: (key, d, M) -> params.
    apply: (params, features [n, d]) -> Outcomes `[n, M]`, scaled units.
    represent: (params, features [n, d]) -> units of the last hidden layer
      `[n, h]` (the features themselves where there is none); params["head"] is
      the linear layer above it, columns M revenues then M costs.
  """

  init: Callable[[jax.Array, int, int], Any]
  apply: Callable[[Any, jax.Array], Outcomes]
  represent: Callable[[Any, jax.Array], jax.Array]


class Scores(NamedTuple):
  """A network of K plain outputs as a pair of pure functions.

  Attributes:
    init: (key, d, K) -> params.
    apply: (params, features [n, d]) -> `[n, K]`.
  """

  init: Callable[[jax.Array, int, int], Any]
  apply: Callable[..., jax.Array]


def _pure(make_module: Callable[[int], MLP]) -> Scores:
  """Returns a module's functions; `apply` reads K off the parameters.

  So a method can be made before the study is known.
  """

  def init(key, features, outputs):
    dtype = jax.dtypes.canonicalize_dtype(float)
    row = jnp.zeros((1, features), dtype)
    return make_module(outputs).init(key, row)["params"]

  def apply(params, features, **options):
    outputs = params["head"]["bias"].shape[-1]
    return make_module(outputs).apply({"params": params}, features, **options)

  return Scores(jax.jit(init, static_argnums=(1, 2)), apply)


def two_heads(
  make_module: Callable[[int], MLP],
  link: Callable[[jax.Array], jax.Array] = lambda x: x,
  *,
  remat: bool = False,
) -> Network:
  """Makes a Network out of a module of 2M outputs.

  Args:
    make_module: number of outputs -> module.
    link: element-wise function of the outputs.
    remat: recompute the hidden layers when differentiating.

  Returns:
    The Network.
  """
  scores = _pure(make_module)

  def init(key, features, arms):
    return scores.init(key, features, 2 * arms)

  def apply(params, features):
    cells = link(scores.apply(params, features))
    arms = cells.shape[1] // 2
    return Outcomes(cells[:, :arms], cells[:, arms:])

  def represent(params, features):
    return scores.apply(params, features, represent=True)

  if remat:
    apply, represent = jax.checkpoint(apply), jax.checkpoint(represent)
  return Network(init, apply, represent)


@functools.lru_cache(maxsize=64)
def _target(hidden, activation, last_scale, remat) -> Network:
  # Compiling an initialisation takes a second: once a shape, not once a method.
  return two_heads(
    lambda outputs: MLP(hidden, outputs, activation, last_scale), remat=remat
  )


@functools.lru_cache(maxsize=64)
def _scores(hidden, activation, last_scale) -> Scores:
  return _pure(lambda outputs: MLP(hidden, outputs, activation, last_scale))


def make_target(config: NetworkConfig) -> Network:
  """Makes the network of target and teacher, F: `[n, d]` -> Outcomes.

  Equal settings give one and the same Network.
  """
  return _target(
    tuple(config.hidden), config.activation, config.last_scale, config.remat
  )


def make_scores(config: NetworkConfig) -> Scores:
  """Makes a network of the target's trunk with outputs of another meaning."""
  return _scores(tuple(config.hidden), config.activation, config.last_scale)
