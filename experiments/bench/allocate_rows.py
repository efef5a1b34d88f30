r"""Times the allocate command on many rows.

    python -m experiments.bench.allocate_rows --workdir=runs/simulated \
      --method=FT --rows=10000000

Writes a Parquet file of N rows with the run's feature columns (normal draws in
the units of the training rows), runs the command as a user would, and prints
one JSON line: seconds, rows a second, the child's peak memory, and predicted
spend over budget by each way to the price.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from absl import flags

from experiments import guard, stored
from experiments.allocation_output import writer

_WORKDIR = flags.DEFINE_string("workdir", None, "A run.", required=True)
_METHOD = flags.DEFINE_string("method", None, "One of its methods.")
_SEED = flags.DEFINE_integer("seed", None, "One of its seeds.")
_ROWS = flags.DEFINE_integer("rows", 10_000_000, "N", 1)
_FOLDER = flags.DEFINE_string("folder", None, "For the files; a temporary one.")
_CHUNK = 500_000


def write_people(served, path: Path, rows: int) -> None:
  """Writes N rows of features, a piece at a time."""
  rng = np.random.default_rng(0)
  mean, scale = served.scalers.feature_mean, served.scalers.feature_scale
  names = served.coding.inputs
  with writer(path) as write:
    for start in range(0, rows, _CHUNK):
      size = min(_CHUNK, rows - start)
      cells = mean + scale * rng.standard_normal((size, len(names)))
      write(pl.DataFrame(cells.astype(np.float32), schema=list(names)))


def main() -> None:
  """Runs the bench."""
  method, seed = stored.choose(_WORKDIR.value, _METHOD.value, _SEED.value)
  served = stored.open_fit(_WORKDIR.value, method, seed)
  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    people = Path(folder) / "people.parquet"
    write_people(served, people, _ROWS.value)
    line = {"rows": _ROWS.value, "features": len(served.coding.names)}
    line["input_mb"] = people.stat().st_size / 1e6
    for way in ("model", "rct"):
      output = Path(folder) / f"{way}.parquet"
      begun = time.monotonic()
      done = subprocess.run(
        [
          sys.executable, "-m", "experiments.allocate",
          f"--workdir={_WORKDIR.value}", f"--method={method}", f"--seed={seed}",
          f"--input={people}", f"--output={output}", f"--price_from={way}",
        ],
        capture_output=True, text=True, check=False,
      )  # fmt: skip
      if done.returncode:
        raise SystemExit(done.stderr)
      seconds = time.monotonic() - begun
      spend = pl.scan_parquet(output).select(pl.mean("expected_cost")).collect()
      line[way] = {
        "seconds": round(seconds, 1),
        "rows_per_second": round(_ROWS.value / seconds),
        "spend_over_budget": spend.item() / served.budget,
      }
    # Of the larger child, in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    line["peak_mb"] = round(peak / 1024)
  print(json.dumps(line))


if __name__ == "__main__":
  guard.run(main)
