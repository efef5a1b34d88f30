"""One trial of a search: settings, their fit on each world, and its value.

Which of two trials is better is read off validation rows: their factual squared
error, or the EOM of the policy at exact budget (experiments/tune.py says when
which).
"""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bidfcl_jax import config as config_lib
from bidfcl_jax import evaluation, methods, training
from bidfcl_jax.config import Config
from bidfcl_jax.files import read_lines
from bidfcl_jax.keys import stream
from bidfcl_jax.methods.method import study_scale
from bidfcl_jax.report import WorkDir, aligned, display_name
from bidfcl_jax.training.validation import scaled_error
from bidfcl_jax.types import Outcomes, Study

CRITERIA = ("valid_mse", "valid_eom")
# What they call revenue ranks arms; it predicts no outcome.
NO_LEVEL = frozenset(
  {"TSM-CF-RCT", "TSM-CF-OBS", "DHCL", "AVG-score", "GROUND"}
)

_KIND = "trial"


class Trial(NamedTuple):
  """One line of metrics.jsonl.

  Attributes:
    method: its name.
    trial: number, 0 being the run's own settings.
    criterion: what `values` are.
    options: dotted option -> value, in place of the run's own.
    values: one a world, NaN where the fit failed.
    seconds: of all worlds, compilation included.
    error: why it failed, or "".
  """

  method: str
  trial: int
  criterion: str
  options: Mapping[str, Any]
  values: tuple[float, ...]
  seconds: float
  error: str = ""

  @property
  def mean(self) -> float:
    """The mean over worlds; NaN where one failed."""
    return float(np.mean(np.asarray(self.values, np.float64)))

  def to_record(self) -> dict[str, Any]:
    """Returns the JSON line."""
    return {"kind": _KIND, **self._asdict()}


def criterion_of(method: str, criterion: str) -> str:
  """Returns what a method is judged by: NO_LEVEL by valid_eom always."""
  return "valid_eom" if method in NO_LEVEL else criterion


def validation_value(
  criterion: str, outcomes: Outcomes, study: Study, budget: float
) -> float:
  """Judges predictions on the validation rows.

  Args:
    criterion: "valid_mse" or "valid_eom".
    outcomes: predictions on the validation rows `[v, M]`, original units.
    study: whose validation rows, shares and scalers are read.
    budget: per capita, original units.

  Returns:
    Squared error in scaled units (revenue's and cost's summed; cost left out
    where it is known), or revenue per capita at exact budget by snipw.
  """
  rows = study.rct_valid
  if criterion == "valid_eom":
    return evaluation.eom(
      outcomes, rows, study.propensity, budget, estimator="snipw"
    )
  return float(scaled_error(outcomes, study_scale(study), rows))


def run_trial(
  name: str,
  number: int,
  options: Mapping[str, Any],
  config: Config,
  studies: Mapping[int, Study],
  criterion: str,
) -> Trial:
  """Fits a method with the options on each world and judges it."""
  own = config_lib.with_options(config, dict(options))
  method = methods.make(name, own)
  values, error, begun = [], "", time.monotonic()
  for seed, study in studies.items():
    key = stream(jax.random.key(seed), "fit")
    try:
      state, _ = training.fit(method, study, key, own)
    # A method may refuse one world of several: an arm that nobody got there.
    except (training.Diverged, ValueError) as refusal:
      values.append(math.nan)
      error = f"seed {seed}: {refusal}"
      continue
    outcomes = methods.predict_rows(method, state, study.rct_valid.features)
    budget = methods.study_budget(own, study)
    values.append(validation_value(criterion, outcomes, study, budget))
  seconds = time.monotonic() - begun
  return Trial(name, number, criterion, options, tuple(values), seconds, error)


def logged(workdir: WorkDir) -> dict[tuple[str, int], Trial]:
  """Returns the trials that stand in a folder: (method, number) -> Trial."""
  found = {}
  for line in read_lines(workdir.path / "metrics.jsonl"):
    if line.pop("kind", None) == _KIND:
      # JSON has no NaN: a failed fit comes back as None.
      values = tuple(math.nan if v is None else v for v in line.pop("values"))
      trial = Trial(**line, values=values)
      found[trial.method, trial.trial] = trial
  return found


def best(trials: Iterable[Trial]) -> Trial | None:
  """Returns the trial with the best mean, the first of equals.

  None where every trial failed on some world.
  """
  finite = [trial for trial in trials if math.isfinite(trial.mean)]
  if not finite:
    return None
  sign = 1 if finite[0].criterion == "valid_eom" else -1
  return max(finite, key=lambda trial: (sign * trial.mean, -trial.trial))


def table(trials: Mapping[str, list[Trial]]) -> str:
  """Returns default against chosen on the criterion, as text.

  The chosen value is the best of several noisy ones: it flatters.
  """
  rows = [("Method", "criterion", "default", "chosen", "trial", "seconds")]
  for name, own in trials.items():
    chosen = best(own)
    rows.append(
      (
        display_name(name),
        own[0].criterion,
        f"{own[0].mean:.5g}",
        "-" if chosen is None else f"{chosen.mean:.5g}",
        "-" if chosen is None else str(chosen.trial),
        f"{sum(trial.seconds for trial in own):.0f}",
      )
    )
  return "\n".join("  ".join(row) for row in aligned(rows, left=2))
