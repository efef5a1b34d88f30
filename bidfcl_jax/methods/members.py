"""Several trained networks kept side by side: ensembles and teachers.

Members are trained one after another in state.target by ordinary stages; a
stage without epochs then puts each aside in `state.members`, stacked on a
leading axis, so that all are applied in one call.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bidfcl_jax.config import Config
from bidfcl_jax.methods.method import Stage
from bidfcl_jax.methods.two_stage import finetune_stage, obs_stage
from bidfcl_jax.models import Network
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Outcomes, Study


def empty_members(target: Any, count: int) -> Any:
  """Returns `count` zero networks like target, stacked `[count, ...]`."""
  return jax.tree.map(
    lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), target
  )


def mean_outcomes(network: Network, members: Any, features) -> Outcomes:
  """Returns the members' mean prediction `[n, M]`, scaled units."""
  every = jax.vmap(network.apply, in_axes=(0, None))(members, features)
  return jax.tree.map(lambda cells: jnp.mean(cells, axis=0), every)


@functools.lru_cache(maxsize=64)
def _mean_apply(network: Network) -> Callable:
  # One function a network: a new one at every fit would be compiled anew.
  return functools.partial(mean_outcomes, network)


def mean_in_chunks(network: Network, members: Any, features) -> Outcomes:
  """Returns the members' mean prediction of many rows, scaled units.

  Args:
    network: the members'.
    members: stacked `[K, ...]`.
    features: `[n, d]` on the host.

  Returns:
    Outcomes `[n, M]` on the device, made with bounded memory.
  """
  taught = apply_in_chunks(_mean_apply(network), members, features)
  return jax.tree.map(jnp.asarray, taught)


def host_stage(name: str, enter) -> Stage:
  """A stage that trains nothing: its `enter` is all."""
  return Stage(
    name=name,
    reads="rct",
    batch=1,
    epochs=0,
    period=1,
    keep=False,
    apply=None,
    enter=enter,
    fixed=lambda state, study: None,
    step=None,
  )


def store_stage(position: int, field: str = "members") -> Stage:
  """Puts state.target aside at `position` of a field of stacked networks."""

  def enter(key, state, study: Study):
    del key, study
    stacked = jax.tree.map(
      lambda stack, leaf: stack.at[position].set(leaf),
      getattr(state, field),
      state.target,
    )
    return state.replace(**{field: stacked})

  name = "store" if field == "members" else f"store-{field}"
  return host_stage(f"{name}-{position + 1}", enter)


def repeated_stages(count: int, *stages: Stage) -> tuple[Stage, ...]:
  """Returns stages that train `count` networks and put each aside.

  Args:
    count: K.
    *stages: of one member, in order; the first draws a new target. The names
      of member k > 1 end in "-k": it has random streams of its own.
  """
  repeated = []
  for k in range(count):
    suffix = f"-{k + 1}" if k else ""
    repeated += [stage._replace(name=stage.name + suffix) for stage in stages]
    repeated.append(store_stage(k))
  return tuple(repeated)


def member_stages(
  config: Config, network: Network, count: int | None = None
) -> tuple[Stage, ...]:
  """Returns stages that train fine-tuned networks and put them aside.

  The first member is the method FT to the bit (as it is without `simple.pull`
  and with all layers); the others have random streams of their own.

  Args:
    config: settings.
    network: on state.target; the state has a field `members`.
    count: K; None: config.simple.members.
  """
  return repeated_stages(
    config.simple.members if count is None else count,
    obs_stage(config, network),
    finetune_stage(config, network),
  )
