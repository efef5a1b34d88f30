"""Results: one record for a method on a seed, kept as JSON lines.

Tables and figures are made from these records, never by hand (style.md 6).
"""

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bidfcl_jax import files
from bidfcl_jax.report.workdir import METRICS

_KIND = "result"


@dataclasses.dataclass(frozen=True)
class Result:
  """What one method reached on one seed.

  Attributes:
    method: registry name, such as "Bi-DFCL-PPL".
    seed: the world on simulated data; else the draw of the hybrid and of the
      initialisation.
    metrics: name -> number, such as eom, oracle_eom, regret (per capita,
      original units) or aucc; one that is missing or None was not measured.
    seconds: training time of this seed, or None.
    n_parameters: parameters of the served network, or None.
  """

  method: str
  seed: int
  metrics: dict[str, float]
  seconds: float | None = None
  n_parameters: int | None = None

  def metric(self, name: str) -> float:
    """Returns a metric, NaN where it is missing."""
    value = self.metrics.get(name)
    return math.nan if value is None else float(value)

  def to_record(self) -> dict[str, Any]:
    """Returns the JSON line of this result."""
    return {"kind": _KIND, **dataclasses.asdict(self)}

  @classmethod
  def from_record(cls, record: dict[str, Any]) -> "Result":
    """Returns the result of a JSON line; fields it does not know are left out.

    Args:
      record: a dict with method, seed, metrics and, if known, the rest.

    Raises:
      ValueError: method, seed or metrics is missing.
    """
    for name in ("method", "seed", "metrics"):
      if name not in record:
        raise ValueError(f"a result line has no {name!r}: {record}")
    names = {item.name for item in dataclasses.fields(cls)}
    return cls(**{k: v for k, v in record.items() if k in names})


def latest(results: Iterable[Result]) -> list[Result]:
  """Keeps the last result of each (method, seed), in order of first sight."""
  kept: dict[tuple[str, int], Result] = {}
  for result in results:
    kept[result.method, result.seed] = result
  return list(kept.values())


def collect(*paths: str | Path) -> list[Result]:
  """Reads the results of one or more runs.

  A resumed run may have written a result twice: the last one counts.

  Args:
    *paths: work directories (their metrics.jsonl is read) or JSON-line files;
      lines of another kind, such as an epoch's losses, are passed over.

  Returns:
    One Result for each (method, seed); a later path wins.

  Raises:
    ValueError: a path that does not exist, or a broken line.
  """
  results = []
  for path in map(Path, paths):
    if not path.exists():
      raise ValueError(f"no results in {path}: it does not exist")
    for line in files.read_lines(path / METRICS if path.is_dir() else path):
      if line.get("kind") == _KIND:
        results.append(Result.from_record(line))
  return latest(results)
