"""Stages of the simple rivals, entered with networks that no one trained."""

import jax
import jax.numpy as jnp
import optax

from bidfcl_jax import methods
from bidfcl_jax.data.batches import take_block
from bidfcl_jax.models import make_target

KEY = jax.random.key(3)


def entered(name, study, config, **fields):
  """Returns the method and its state after `enter` of its last stage.

  Args:
    name: of a method.
    study: Study.
    config: settings.
    **fields: of the state before.
  """
  method = methods.make(name, config)
  state = method.init(KEY, study).replace(**fields)
  return method, method.stages[-1].enter(KEY, state, study)


def untrained(seed, study, config):
  """Returns the parameters of a network for the study."""
  network = make_target(config.network)
  features = study.obs.features.shape[1]
  return network.init(jax.random.key(seed), features, study.arms)


def first_rows(samples, count):
  """Returns a block of one batch: the first rows of a part."""
  rows = jnp.arange(count, dtype=jnp.int32)[None]
  return take_block(jax.tree.map(jnp.asarray, samples), rows)


def gradient(state):
  """Returns the gradient of a first step: ten times Adam's first moment."""
  moments = optax.tree.get(state.optimiser, "mu")
  return jax.tree.map(lambda leaf: 10 * leaf, moments)
