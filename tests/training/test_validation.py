import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.methods.method import Scale, State
from bidfcl_jax.training.epochs import Progress, averaged_target, start_stage
from bidfcl_jax.training.validation import (
  Validation,
  candidate,
  measure,
  score,
)
from bidfcl_jax.types import Outcomes, Samples


def progress(known=None):
  """Last target 4, mean of all targets 6 / 0.75 = 8."""
  return Progress(
    state=State(
      step=jnp.zeros((), jnp.int32),
      target=jnp.asarray(4.0),
      optimiser=(),
      scale=Scale(jnp.asarray(2.0), jnp.asarray(5.0), known),
    ),
    average=jnp.asarray(6.0),
    average_weight=jnp.asarray(0.75),
  )


def constant(state, features):
  """Predicts (target, 10) revenue and (0, 5) cost for everyone."""
  ones = jnp.ones((len(features), 1))
  revenue = ones * jnp.stack([state.target, jnp.asarray(10.0)])
  return Outcomes(revenue, ones * jnp.array([0.0, 5.0]))


ROWS = Samples(
  jnp.zeros((4, 1)),
  jnp.array([0, 0, 1, 1]),
  jnp.array([4.0, 6.0, 10.0, 14.0]),
  jnp.array([0.0, 0.0, 5.0, 5.0]),
)
VALID = Validation(ROWS, jnp.array([0.5, 0.5]), jnp.asarray(9.0))


def test_the_average_before_any_step_is_the_target():
  fresh = start_stage(progress().state)
  assert averaged_target(fresh) == 4
  assert averaged_target(progress()) == 8


@pytest.mark.parametrize(
  ("rule", "value"), [("ema_last", 8), ("valid_mse", 4), ("valid_eom", 4)]
)
def test_the_rule_says_which_target_is_judged(rule, value):
  assert candidate(progress(), rule) == value


def test_error_and_eom_by_hand():
  values = measure(constant, progress(), "valid_mse", VALID)
  # Gaps (0, 2, 0, 4) of revenue in units of 2, of cost 0.
  assert values["valid_mse"] == pytest.approx((0 + 1 + 0 + 4) / 4)
  # The budget does not bind: everyone gets arm 1, (10 + 14) / 0.5 / 4.
  assert values["valid_eom"] == pytest.approx(12.0)
  averaged = measure(constant, progress(), "ema_last", VALID)
  # The target 8 instead of 4: gaps (4, 2, 0, 4).
  assert averaged["valid_mse"] == pytest.approx((4 + 1 + 0 + 4) / 4)


def test_known_costs_are_no_part_of_the_error():
  rows = ROWS.replace(cost=ROWS.cost + 100)
  known = progress(jnp.array([0.0, 5.0]))
  values = measure(constant, known, "valid_mse", VALID._replace(samples=rows))
  assert values["valid_mse"] == pytest.approx(5 / 4)


def test_a_stage_without_predictions_is_not_measured():
  assert measure(None, progress(), "valid_mse", VALID) == {}


@pytest.mark.parametrize(
  ("rule", "value"),
  [("valid_mse", -2.0), ("valid_eom", 3.0), ("ema_last", -np.inf)],
)
def test_the_score_is_greater_where_better(rule, value):
  assert score(rule, {"valid_mse": 2.0, "valid_eom": 3.0}) == value


@pytest.mark.parametrize("rule", ["valid_mse", "valid_eom"])
def test_what_is_not_a_number_never_wins(rule):
  bad = {"valid_mse": float("nan"), "valid_eom": float("inf")}
  assert score(rule, bad) == -np.inf
  assert score(rule, {}) == -np.inf
