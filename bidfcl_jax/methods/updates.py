"""One guarded step of the target, and how a stage begins with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bidfcl_jax.bilevel import all_finite
from bidfcl_jax.config import SourceConfig
from bidfcl_jax.data.batches import batches_per_epoch, part_rows
from bidfcl_jax.methods.method import (
  Scale,
  State,
  study_scale,
  to_money,
)
from bidfcl_jax.models import Network
from bidfcl_jax.types import Study


class Schedule(NamedTuple):
  """aux of a plain stage: steps of the whole stage, for the schedule."""

  total: jax.Array


def schedule(reads: str, source: SourceConfig) -> Callable:
  """Returns the `fixed` of a stage that asks for its number of steps alone."""

  def fixed(state, study: Study) -> Schedule:
    del state
    return Schedule(total_steps(study, reads, source, source.epochs))

  return fixed


def make_optimiser(source: SourceConfig) -> optax.GradientTransformation:
  """AdamW without its step size, which `learning_rate` gives per step."""
  return optax.chain(
    optax.scale_by_adam(), optax.add_decayed_weights(source.weight_decay)
  )


def learning_rate(source: SourceConfig, count: jax.Array, total: jax.Array):
  """Returns the step size after `count` of `total` steps."""
  if source.schedule == "constant":
    return source.learning_rate
  share = jnp.clip(count / jnp.maximum(total, 1), 0, 1)
  return source.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * share))


def step_size(state: State, source: SourceConfig, total: jax.Array):
  """Returns the step size that the target's next step has."""
  count = optax.tree.get(state.optimiser, "count")
  return learning_rate(source, count, total)


def select(condition: jax.Array, new: Any, old: Any) -> Any:
  """Returns new where condition holds, else old, leaf by leaf."""
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def reported(alive: jax.Array, metrics: dict) -> dict[str, jax.Array]:
  """Returns a batch's metrics, NaN where it is empty: nothing to report."""
  return jax.tree.map(lambda x: jnp.where(alive, x, jnp.nan), metrics)


def guarded_update(
  state: State,
  loss: jax.Array,
  gradient: Any,
  weight: jax.Array,
  source: SourceConfig,
  total: jax.Array,
) -> tuple[State, dict[str, jax.Array]]:
  """Moves the target one step, unless the batch is empty or not finite.

  Returns:
    (state, metrics): unchanged to the bit where the step is refused;
    "skipped" is 1 where a batch with rows was refused.
  """
  alive = jnp.sum(weight) > 0
  finite = jnp.isfinite(loss) & all_finite(gradient)
  rate = step_size(state, source, total)
  updates, optimiser = make_optimiser(source).update(
    gradient, state.optimiser, state.target
  )
  target = jax.tree.map(lambda p, u: p - rate * u, state.target, updates)
  applied = alive & finite
  new = state.replace(step=state.step + 1, target=target, optimiser=optimiser)
  metrics = {
    "loss": jnp.where(alive & finite, loss, jnp.nan),
    "skipped": (alive & ~finite).astype(jnp.float32),
  }
  return select(applied, new, state), metrics


def meta_update(
  optimiser: optax.GradientTransformation,
  gradient: Any,
  phi: Any,
  optimiser_state: Any,
  allowed: jax.Array,
) -> tuple[Any, Any]:
  """Moves phi where allowed; else phi and Adam's state stay to the bit."""
  updates, moved = optimiser.update(gradient, optimiser_state, phi)
  new = optax.apply_updates(phi, updates), moved
  return select(allowed, new, (phi, optimiser_state))


def fresh_state(target: Any, source: SourceConfig, scale: Scale | None):
  """Returns a State at step 0 with a new optimiser."""
  return State(
    step=jnp.zeros((), jnp.int32),
    target=target,
    optimiser=make_optimiser(source).init(target),
    scale=scale,
  )


def restart(network: Network, source: SourceConfig):
  """Returns an `enter` that draws a new target from the stage's key."""

  def enter(key, state, study: Study):
    features = study.rct_train.features.shape[1]
    target = network.init(key, features, study.arms)
    return go_on(source)(key, state.replace(target=target), study)

  return enter


def go_on(source: SourceConfig):
  """Returns an `enter` that keeps the target, with a new optimiser."""

  def enter(key, state, study: Study):
    del key, study
    return state.replace(
      step=jnp.zeros((), jnp.int32),
      optimiser=make_optimiser(source).init(state.target),
    )

  return enter


def plain_init(network: Network, source: SourceConfig) -> Callable:
  """Returns the `init` of a method whose state is a plain State."""

  def init(key, study: Study) -> State:
    features = study.rct_train.features.shape[1]
    target = network.init(key, features, study.arms)
    return fresh_state(target, source, study_scale(study))

  return init


def money_apply(network: Network) -> Callable:
  """Returns (state, features) -> Outcomes of the target, original units."""

  def apply(state, features):
    return to_money(network.apply(state.target, features), state.scale)

  return apply


def total_steps(study: Study, reads: str, source: SourceConfig, epochs: int):
  """Returns the batches of a whole stage, as an array."""
  rows = part_rows(study, reads)
  return jnp.asarray(epochs * batches_per_epoch(rows, source.batch))
