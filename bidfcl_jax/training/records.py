"""What an epoch reports: means of metrics, runs of refused steps, warnings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from bidfcl_jax.data.checks import covariate_shift
from bidfcl_jax.methods import Stage
from bidfcl_jax.types import Study

Totals = dict[str, list[float]]


def add_metrics(totals: Totals, metrics: Mapping[str, Any]) -> Totals:
  """Adds the metrics of some blocks to those of the epoch's earlier blocks.

  Args:
    totals: metric -> [sum, count] of finite values; {} where an epoch begins.
    metrics: metric -> array; what is not finite (a block with nothing to
      report) is left out.

  Returns:
    New totals, which JSON can hold.
  """
  new = dict(totals)
  for name, values in metrics.items():
    values = np.asarray(values, np.float64)
    seen = values[np.isfinite(values)]
    total, count = new.get(name, (0.0, 0))
    new[name] = [total + float(seen.sum()), count + seen.size]
  return new


def epoch_summary(totals: Totals) -> dict[str, float]:
  """Returns the mean of each metric over an epoch; "skipped" is a sum.

  NaN where no value was finite.
  """
  return {
    name: total if name == "skipped" else total / count if count else math.nan
    for name, (total, count) in totals.items()
  }


def epoch_line(
  stage: Stage, index: int, epoch: int, step: Any, totals: Totals
) -> dict[str, Any]:
  """Returns the record of an epoch, before what validation adds to it."""
  return {
    "stage": stage.name,
    "stage_index": index,
    "epoch": epoch,
    "step": int(step),
    **epoch_summary(totals),
  }


def warn_without_signal(line: Mapping[str, Any]) -> None:
  """Warns where an epoch's bridge updates had a hypergradient of exactly 0."""
  if line.get("zero_hypergradient"):
    logging.warning(
      "%s, epoch %d: hypergradient exactly 0 in %.0f %% of bridge updates; the "
      "bridge has no signal there",
      line["stage"],
      line["epoch"],
      100 * line["zero_hypergradient"],
    )


def warn_of_shift(study: Study) -> None:
  """Warns where the covariates of OBS and RCT rows differ."""
  shifted = covariate_shift(study)
  if shifted:
    logging.warning(
      "OBS and RCT rows differ in %s (means apart by %.2f standard "
      "deviations): lambda* answers for the RCT's population",
      *shifted[0],
    )


def skip_runs(skipped, before: int) -> tuple[int, int]:
  """Counts refused steps in a row.

  Args:
    skipped: 1 where a step was refused, in order.
    before: length of the run that ends just before.

  Returns:
    (longest run, run that ends here).
  """
  run = longest = before
  for refused in np.asarray(skipped).ravel():
    run = run + 1 if refused else 0
    longest = max(longest, run)
  return longest, run


class Diverged(RuntimeError):
  """Too many steps in a row were not finite."""


class Stopped(RuntimeError):
  """A fit was asked to stop."""


def checked_skips(skipped, before: int, limit: int, step: int) -> int:
  """Returns the run of refused steps that ends here.

  Args:
    skipped: 1 where a step was refused, in order.
    before: length of the run that ends just before.
    limit: config.training.max_skipped.
    step: of the state, for the message.

  Raises:
    Diverged: a run is as long as the limit.
  """
  longest, current = skip_runs(skipped, before)
  if longest >= limit:
    raise Diverged(
      f"{longest} steps in a row were not finite, the last near step {step}; "
      "parameters were not touched by them. Lower the learning rate or look "
      "for extreme outcomes"
    )
  return current
