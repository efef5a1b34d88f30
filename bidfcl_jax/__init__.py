"""Bi-level decision-focused causal learning (Bi-DFCL) in JAX.

  import bidfcl_jax
  bidfcl_jax.allocation.solve(...)

A room is imported when it is first named.
"""

import importlib

__version__ = "0.1.0"

_ROOMS = (
  "allocation",
  "bilevel",
  "config",
  "data",
  "evaluation",
  "losses",
  "methods",
  "models",
  "report",
  "training",
  "types",
)
__all__ = ["__version__", *_ROOMS]  # noqa: PLE0604


def __getattr__(name: str):
  if name in _ROOMS:
    return importlib.import_module(f"{__name__}.{name}")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
