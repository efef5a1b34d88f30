"""What a user declares of the arms: their labels, their order, known costs."""

from collections.abc import Sequence

import numpy as np
import polars as pl


def declared_arms(arms: Sequence[str]) -> tuple[str, ...]:
  """Checks the declared arms: their order is the coding, whatever files hold.

  Args:
    arms: M labels, the control first.

  Returns:
    The labels as stripped text.

  Raises:
    ValueError: fewer than two, an empty one, or two that a cell could not
      tell apart ("1" and "1.0").
  """
  arms = tuple(str(label).strip() for label in arms)
  if len(arms) < 2:
    raise ValueError(
      f"arms {list(arms)}: declare the control and at least one other arm"
    )
  values = pl.Series(arms).cast(pl.Float64, strict=False)
  names = [
    label if value is None else value
    for label, value in zip(arms, values, strict=True)
  ]
  for place, name in enumerate(names):
    if name == "" or name in names[:place]:
      raise ValueError(
        f"arms {list(arms)}: label {arms[place]!r} is empty or stands twice "
        "('1' and '1.0' are the same arm); give each arm one label"
      )
  return arms


def known_cost(
  costs: Sequence[float], arms: Sequence[str], *, allow_negative=False
) -> np.ndarray:
  """Checks the known cost of each arm.

  Args:
    costs: M costs per capita, the control's first, original units.
    arms: M labels, for messages.
    allow_negative: whether a cost may be negative.

  Returns:
    `[M]` float64.

  Raises:
    ValueError: not one finite cost for each arm, or a negative one.
  """
  costs = np.asarray(costs, np.float64)
  if costs.shape != (len(arms),):
    raise ValueError(
      f"costs {costs.tolist()}: give one for each of the {len(arms)} arms "
      f"{', '.join(arms)}, the control's first"
    )
  for label, cost in zip(arms, costs, strict=True):
    if not np.isfinite(cost) or (cost < 0 and not allow_negative):
      raise ValueError(
        f"the cost of arm {label!r} is {cost}; it must be finite and not "
        "negative"
      )
  return costs
