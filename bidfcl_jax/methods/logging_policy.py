"""The logging policy e(x) of OBS, estimated for IPS and DR-JT.

A network of the target's trunk with a softmax over M arms, fitted by
cross-entropy on OBS (baselines.md 3.2). One tenth of the households is held
out: it picks the best epoch and one temperature. Cross-fitting: households are
dealt into folds, and a row's propensity comes from the network that never saw
its fold.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.data.batches import batches_per_epoch, epoch_rows, take_block
from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.losses.value import received, weighted_mean
from bidfcl_jax.methods.updates import fresh_state, guarded_update, select
from bidfcl_jax.models import make_scores
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Samples, Study

HELD_OUT = 0.1
_HALVINGS = 30


@struct.dataclass
class LoggingPolicy:
  """K networks, one a fold.

  Attributes:
    params: leading axis K.
    temperature: `[K]`, divides the logits.
    log_loss: `[K]` cross-entropy on the held-out rows, after the temperature.
    split: data of the key that dealt the folds.
  """

  params: Any
  temperature: jax.Array
  log_loss: jax.Array
  split: jax.Array


def _logits(config: Config, params, features) -> jax.Array:
  return make_scores(config.network).apply(params, features)


def _cross_entropy(logits, arm, weight) -> jax.Array:
  return -weighted_mean(received(jax.nn.log_softmax(logits), arm), weight)


def init_policy(key: jax.Array, config: Config, study: Study) -> LoggingPolicy:
  """Draws K networks of the size that the study needs."""
  folds = config.propensity.folds
  features, init = study.obs.features.shape[1], make_scores(config.network).init
  drawn = jax.vmap(lambda key: init(key, features, study.arms))
  return LoggingPolicy(
    params=drawn(jax.random.split(key, folds)),
    temperature=jnp.ones(folds),
    log_loss=jnp.full(folds, jnp.nan, float),
    split=jax.random.key_data(key),
  )


def deal(
  key: jax.Array, samples: Samples, folds: int
) -> tuple[np.ndarray, np.ndarray]:
  """Deals households into folds and holds a tenth of them out.

  Returns:
    (fold `[n]`, held `[n]` bool); held-out rows belong to folds, too.
  """
  _, household = np.unique(np.asarray(samples.group), return_inverse=True)
  generator = host_generator(stream(key, "folds"))
  place = generator.permutation(household.max() + 1)
  held = place < HELD_OUT * len(place)
  return (place % folds)[household], held[household]


def calibrate(logits, arm, weight) -> jax.Array:
  """Returns the temperature in [1/20, 20] of least cross-entropy, by halving.

  Args:
    logits: `[n, M]`.
    arm: `[n]`.
    weight: `[n]`.

  Returns:
    Scalar; 1 where all weights are 0. Cross-entropy is convex in the inverse
    temperature, so the sign of its slope brackets the minimum.
  """

  def loss(sharpness):
    return _cross_entropy(logits * jnp.exp(sharpness), arm, weight)

  def halve(_, bracket):
    low, high = bracket
    middle = (low + high) / 2
    rising = jax.grad(loss)(middle) > 0
    return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

  end = jnp.log(jnp.asarray(20, logits.dtype))
  low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (-end, end))
  sharpness = jnp.where(jnp.sum(weight) > 0, (low + high) / 2, 0)
  return jnp.exp(-sharpness)


class _Rows(NamedTuple):
  """OBS rows and who may see them.

  Attributes:
    samples: all OBS rows.
    fitted: `[K, n]` whether a network learns from a row.
    judged: the held-out rows.
    judges: `[K, held]` their weights in a network's choices.
    total: steps of the whole fit.
  """

  samples: Samples
  fitted: jax.Array
  judged: Samples
  judges: jax.Array
  total: jax.Array


def _rows(key, config: Config, study: Study) -> _Rows:
  folds, epochs = config.propensity.folds, config.propensity.epochs
  fold, held = deal(key, study.obs, folds)
  seen = (fold != np.arange(folds)[:, None]) | (folds == 1)
  samples = jax.tree.map(jnp.asarray, study.obs)
  judged = jax.tree.map(lambda leaf: leaf[held], samples)
  batches = batches_per_epoch(len(samples), config.obs.batch)
  return _Rows(
    samples=samples,
    fitted=jnp.asarray(seen & ~held),
    judged=judged,
    judges=jnp.asarray(seen[:, held]) * judged.weight,
    total=jnp.asarray(epochs * batches),
  )


def _judge(config: Config, states, policy, best, data: _Rows):
  """Keeps the networks whose held-out cross-entropy is the least so far."""
  logits = jax.vmap(
    lambda params: _logits(config, params, data.judged.features)
  )(states.target)
  over_folds = (0, None, 0)
  measure = jax.vmap(_cross_entropy, over_folds)
  losses = measure(logits, data.judged.arm, data.judges)
  temperature = jax.vmap(calibrate, over_folds)(
    logits, data.judged.arm, data.judges
  )
  new = policy.replace(
    params=states.target,
    temperature=temperature,
    log_loss=measure(
      logits / temperature[:, None, None], data.judged.arm, data.judges
    ),
  )
  better = losses <= best
  chosen = jax.vmap(select)(
    better,
    (new.params, new.temperature, new.log_loss, losses),
    (policy.params, policy.temperature, policy.log_loss, best),
  )
  params, temperature, log_loss, best = chosen
  policy = policy.replace(
    params=params, temperature=temperature, log_loss=log_loss
  )
  return policy, best


def make_policy_fit(config: Config):
  """Makes (key, study) -> LoggingPolicy: K networks fitted side by side.

  Args:
    config: `propensity`, `network`, and `obs` for batch and step size.

  Returns:
    The function; its key serves initial weights, folds and order. It returns
    each network as of the epoch with the least held-out cross-entropy.
  """
  source = config.obs

  def learn(states, rows, data: _Rows):
    block = take_block(data.samples, rows)

    def one(state, mine):
      weight = block.samples.weight * mine[block.rows]

      def loss(params):
        logits = _logits(config, params, block.samples.features)
        return _cross_entropy(logits, block.samples.arm, weight)

      value, gradient = jax.value_and_grad(loss)(state.target)
      return guarded_update(state, value, gradient, weight, source, data.total)[
        0
      ]

    return jax.vmap(one)(states, data.fitted), None

  @jax.jit
  def epoch(states, policy, best, order, data: _Rows):
    states, _ = jax.lax.scan(
      lambda states, rows: learn(states, rows, data), states, order[:, 0]
    )
    return states, *_judge(config, states, policy, best, data)

  def fit(key: jax.Array, study: Study) -> LoggingPolicy:
    policy = init_policy(key, config, study)
    data = _rows(key, config, study)
    states = jax.vmap(lambda params: fresh_state(params, source, None))(
      policy.params
    )
    best = jnp.full(config.propensity.folds, jnp.inf, float)
    for number in range(config.propensity.epochs):
      order = epoch_rows(
        jax.random.fold_in(stream(key, "order"), number),
        len(data.samples),
        source.batch,
      )
      states, policy, best = epoch(states, policy, best, order, data)
    return policy

  return fit


def received_propensity(
  policy: LoggingPolicy, config: Config, samples: Samples
) -> np.ndarray:
  """Computes e_{t_i}(x_i) of each row by the network that did not see it.

  Args:
    policy: fitted on these rows.
    config: as in the fit.
    samples: the OBS rows on the host.

  Returns:
    `[n]` on the host.
  """

  def apply(fitted, features):
    params, temperature = fitted
    return jax.nn.softmax(_logits(config, params, features) / temperature)

  key = jax.random.wrap_key_data(policy.split)
  folds = len(policy.temperature)
  fold, _ = deal(key, samples, folds)
  features, arm = np.asarray(samples.features), np.asarray(samples.arm)
  received_by = np.ones(len(arm), features.dtype)
  for number in range(folds):
    rows = np.flatnonzero(fold == number)
    if not rows.size:
      continue
    mine = jax.tree.map(
      lambda leaf, at=number: leaf[at], (policy.params, policy.temperature)
    )
    share = apply_in_chunks(apply, mine, features[rows])
    received_by[rows] = share[np.arange(len(rows)), arm[rows]]
  return received_by
