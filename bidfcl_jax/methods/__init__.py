"""Methods by the names of the tables: a new one is a file and a line here."""

import difflib

from bidfcl_jax.config import Config
from bidfcl_jax.methods import (
  autodebias,
  bidfcl,
  causal_embeddings,
  debiasing,
  dfcl,
  dhcl,
  direct,
  distillation,
  doubly_robust,
  dragonnet,
  effects,
  ensembles,
  finetuned,
  forest,
  propensity,
  repairs,
  representation,
  seed_ensembles,
  stacking,
  two_stage,
)
from bidfcl_jax.methods.method import (
  Method,
  Stage,
  State,
  predict_rows,
  study_budget,
)

_REGISTRY = {
  **two_stage.METHODS,
  **propensity.METHODS,
  **doubly_robust.METHODS,
  **representation.METHODS,
  **dragonnet.METHODS,
  **forest.METHODS,
  **dhcl.METHODS,
  **dfcl.METHODS,
  **causal_embeddings.METHODS,
  **distillation.METHODS,
  **autodebias.METHODS,
  **debiasing.METHODS,
  **finetuned.METHODS,
  **seed_ensembles.METHODS,
  **ensembles.METHODS,
  **stacking.METHODS,
  **repairs.METHODS,
  **effects.METHODS,
  **direct.METHODS,
  **bidfcl.METHODS,
}


def names() -> tuple[str, ...]:
  """Returns the names that `make` knows, family by family."""
  return tuple(_REGISTRY)


def check_name(name: str) -> None:
  """Raises ValueError for a name that `make` does not know.

  The message has the nearest and all names.
  """
  if name not in _REGISTRY:
    near = difflib.get_close_matches(name, _REGISTRY, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
      f"unknown method {name!r}{hint} (known: {', '.join(_REGISTRY)})"
    )


def make(name: str, config: Config) -> Method:
  """Makes a method.

  Args:
    name: one of `names()`.
    config: settings of the run.

  Returns:
    The Method.

  Raises:
    ValueError: unknown name, see `check_name`; settings it refuses.
  """
  check_name(name)
  return _REGISTRY[name](config)


__all__ = [
  "Method",
  "Stage",
  "State",
  "check_name",
  "make",
  "names",
  "predict_rows",
  "study_budget",
]
