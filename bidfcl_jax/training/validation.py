"""What is measured on validation rows after each epoch, and what it decides.

Checkpoint rules, one for all methods of a run (simulator.md):

  "ema_last"   the average of the target at the last epoch (default: IPW-EOM on
               a small validation set is mostly noise)
  "valid_mse"  the target of the epoch with the least validation MSE
  "valid_eom"  the target of the epoch with the greatest validation EOM (Alg. 1)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bidfcl_jax.config import Config
from bidfcl_jax.evaluation.eom import eom_core
from bidfcl_jax.losses.prediction import factual_loss
from bidfcl_jax.methods import Stage, State, study_budget
from bidfcl_jax.methods.method import Scale, to_scaled
from bidfcl_jax.training.epochs import Progress, averaged_target
from bidfcl_jax.types import Outcomes, Samples, Study


def scaled_error(
  outcomes: Outcomes, scale: Scale, samples: Samples
) -> jax.Array:
  """Returns the factual squared error of predictions, scaled units.

  Args:
    outcomes: `[n, M]`, original units.
    scale: Scale; cost is left out where it is known.
    samples: the same n rows, original units.
  """
  scaled = Outcomes(
    outcomes.revenue / scale.revenue, outcomes.cost / scale.cost
  )
  return factual_loss(
    scaled, to_scaled(samples, scale), learn_cost=scale.learn_cost
  )


class Validation(NamedTuple):
  """What checkpoints are judged on: rows, arm shares `[M]`, budget."""

  samples: Samples
  propensity: jax.Array
  budget: jax.Array


def validation_of(study: Study, config: Config) -> Validation:
  """Returns a study's Validation, on the device."""
  return Validation(
    jax.tree.map(jnp.asarray, study.rct_valid),
    jnp.asarray(study.propensity, float),
    jnp.asarray(study_budget(config, study), float),
  )


@jax.jit
def _measures(
  outcomes: Outcomes, scale: Scale, valid: Validation
) -> dict[str, jax.Array]:
  eom = eom_core(outcomes, *valid).revenue
  mse = scaled_error(outcomes, scale, valid.samples)
  return {"valid_mse": mse, "valid_eom": eom}


def candidate(progress: Progress, rule: str) -> Any:
  """Returns the target that the rule would judge now."""
  if rule == "ema_last":
    return averaged_target(progress)
  return progress.state.target


def measure(
  apply: Callable | None,
  progress: Progress,
  rule: str,
  valid: Validation,
) -> dict[str, float]:
  """Returns validation MSE (scaled units) and EOM of the rule's candidate.

  Args:
    apply: the stage's; None measures nothing.
    progress: after an epoch.
    rule: the checkpoint rule.
    valid: Validation.

  Returns:
    {"valid_mse", "valid_eom"} or {}.
  """
  if apply is None:
    return {}
  state = progress.state.replace(target=candidate(progress, rule))
  outcomes = jax.jit(apply)(state, valid.samples.features)
  values = _measures(outcomes, state.scale, valid)
  return {name: float(value) for name, value in values.items()}


def score(rule: str, measures: dict[str, float]) -> float:
  """Returns what the rule maximises; -inf where it is not a number."""
  if rule == "ema_last" or not measures:
    return float("-inf")
  value = (
    -measures["valid_mse"] if rule == "valid_mse" else (measures["valid_eom"])
  )
  return value if jnp.isfinite(value) else float("-inf")


def chosen(
  stage: Stage, progress: Progress, rule: str, best: Any, best_score: float
) -> State:
  """Returns the state that a stage leaves behind: the rule's choice.

  Args:
    stage: one that does not keep (a warm-up) leaves its last parameters.
    progress: after the last epoch.
    rule: the checkpoint rule.
    best: the target of the best epoch so far.
    best_score: its score; -inf where none was finite.
  """
  if not stage.keep:
    return progress.state
  if rule == "ema_last" or best_score == float("-inf"):
    best = candidate(progress, rule)
  return progress.state.replace(target=best)
