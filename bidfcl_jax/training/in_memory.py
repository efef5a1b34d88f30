"""The fit of a model that no step trains and no checkpoint holds (forests)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from bidfcl_jax.files import write_lines
from bidfcl_jax.keys import stream
from bidfcl_jax.methods import Method
from bidfcl_jax.types import Study


def fit_in_memory(
  method: Method,
  study: Study,
  key: jax.Array,
  workdir: str | Path | None,
  on_record: Callable[[dict[str, Any]], None] | None,
) -> tuple[Any, list[dict[str, Any]]]:
  """Calls `method.fit` once.

  Args:
    method: a Method with `fit`.
    study: without test part and truth.
    key: the seed.
    workdir: gets metrics.jsonl, written anew: a run that was stopped begins
      again.
    on_record: called with the one record.

  Returns:
    (what `method.predict` reads, history of one record: its seconds).
  """
  begun = time.monotonic()
  state = method.fit(stream(key, "fit"), study)
  line = {
    "stage": "fit",
    "stage_index": 0,
    "epoch": 0,
    "step": 0,
    "seconds": time.monotonic() - begun,
  }
  if workdir is not None:
    write_lines(Path(workdir) / "metrics.jsonl", [line])
  if on_record is not None:
    on_record(line)
  return state, [line]
