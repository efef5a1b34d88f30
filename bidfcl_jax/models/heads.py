"""The last layer on its own, for methods that work on the hidden units."""

from typing import Any

import jax

from bidfcl_jax.types import Outcomes


def linear_heads(params: Any, units: jax.Array) -> Outcomes:
  """Applies the last layer to given units of the last hidden one.

  Args:
    params: of a Network without a link.
    units: `[n, h]`, such as `represent` returns.

  Returns:
    Outcomes `[n, M]`, scaled units.
  """
  head = params["head"]
  cells = units @ head["kernel"] + head["bias"]
  arms = cells.shape[1] // 2
  return Outcomes(cells[:, :arms], cells[:, arms:])
