"""A method is a value: pure functions that one trainer serves.

In the manner of an optax gradient transformation. A method is a sequence of
stages (pretraining, warm start, the bi-level stage ...); a stage says which
rows it reads and what one step does with a block of them. All that a method
learns, freezes or estimates lives in its state; what it derives from the study
(cached teacher outputs, RCT rows) lives in `aux`, which is made anew by `fixed`
and never saved.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.config import Config
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.types import Array, Outcomes, Samples, Study


@struct.dataclass
class Scale:
  """How predictions return to money.

  Attributes:
    revenue: scalar, one unit of scaled revenue in original units.
    cost: scalar, the same of cost.
    known_cost: `[M]` where the arms' costs are known and not learnt, or None.
  """

  revenue: Array
  cost: Array
  known_cost: Array | None = None

  @property
  def learn_cost(self) -> bool:
    """Whether cost is predicted at all; static under jit."""
    return self.known_cost is None


@struct.dataclass
class State:
  """What every method carries; methods with more networks extend it.

  Attributes:
    step: int32, batches learnt from in this stage's network.
    target: parameters that the trainer averages, selects and validates.
    optimiser: the target's optimiser state.
    scale: Scale.
  """

  step: jax.Array
  target: Any
  optimiser: Any
  scale: Scale


class Stage(NamedTuple):
  """One stage of training.

  Attributes:
    name: also the name of its random stream: stages of the same name in two
      methods see the same batches and the same initial weights.
    reads: "rct", "obs", "union" or "pair" (data/batches.py).
    batch: rows a batch.
    epochs: passes; 0 means `enter` only.
    period: batches a block.
    keep: True: at the end state.target becomes the checkpoint rule's choice;
      False (a warm-up): the last parameters go on.
    apply: (state, features) -> Outcomes, original units: what is validated.
    enter: (key, state, study) -> state, once, on the host.
    fixed: (state, study) -> aux, pure; after enter and again after a resume.
    step: (key, state, block, aux) -> (state, metrics), jittable. An empty
      block leaves the state unchanged to the bit. metrics holds "skipped"
      `[period]`, 1 where a batch was refused as not finite.
  """

  name: str
  reads: str
  batch: int
  epochs: int
  period: int
  keep: bool
  apply: Callable | None
  enter: Callable
  fixed: Callable
  step: Callable | None


class Method(NamedTuple):
  """A method: see this file's first paragraph.

  Attributes:
    name: its row in the tables.
    init: (key, study) -> state; the state's structure never changes later.
    stages: in order.
    predict: (state, features `[n, d]`) -> Outcomes `[n, M]`, original units.
    fit: (key, study) -> what `predict` reads, in place of init and stages, for
      models that no step trains (forests); `predict` is then a host function.
    reads_logging: it is shown the known logging propensities of OBS (oracle
      IPS; no other method is).
  """

  name: str
  init: Callable[[jax.Array, Study], State] | None
  stages: tuple[Stage, ...]
  predict: Callable[[State, Array], Outcomes]
  fit: Callable[[jax.Array, Study], Any] | None = None
  reads_logging: bool = False


def predict_rows(method: Method, state: Any, features: Array) -> Outcomes:
  """Predicts many rows with bounded device memory.

  Args:
    method: the Method.
    state: its state, or what its `fit` returned.
    features: `[n, d]` on the host.

  Returns:
    Outcomes `[n, M]` of NumPy arrays, original units.
  """
  if method.fit is not None:
    return method.predict(state, features)
  return apply_in_chunks(method.predict, state, features)


def study_budget(config: Config, study: Study) -> float:
  """Returns the run's budget per capita, or the study's default; on the host.

  In full precision: what judges a policy must not round the budget.
  """
  return float(study.budget if config.budget is None else config.budget)


def study_scale(study: Study) -> Scale:
  """Reads the Scale off a study."""
  known = study.known_cost
  return Scale(
    revenue=jnp.asarray(study.scalers.revenue, float),
    cost=jnp.asarray(study.scalers.cost, float),
    known_cost=None if known is None else jnp.asarray(known, float),
  )


def to_scaled(samples: Samples, scale: Scale) -> Samples:
  """Returns rows with outcomes in scaled units."""
  return samples.replace(
    revenue=samples.revenue / scale.revenue, cost=samples.cost / scale.cost
  )


def to_money(outcomes: Outcomes, scale: Scale) -> Outcomes:
  """Returns predictions in original units; known costs replace learnt ones."""
  cost = outcomes.cost * scale.cost
  if not scale.learn_cost:
    cost = jnp.broadcast_to(scale.known_cost, cost.shape).astype(cost.dtype)
  return Outcomes(outcomes.revenue * scale.revenue, cost)
