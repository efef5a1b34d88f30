"""What an epoch reports: means of its metrics, and runs of refused steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def epoch_summary(metrics: Mapping[str, Any]) -> dict[str, float]:
  """Returns the mean of each metric over an epoch; "skipped" is a sum.

  Values that are not finite (blocks with nothing to report) are left out; NaN
  where none is left.
  """
  record = {}
  for name, values in metrics.items():
    values = np.asarray(values, np.float64)
    if name == "skipped":
      record[name] = float(values.sum())
      continue
    seen = values[np.isfinite(values)]
    record[name] = float(seen.mean()) if seen.size else float("nan")
  return record


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
