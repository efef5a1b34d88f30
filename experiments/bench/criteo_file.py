r"""Times the reading of a file as large as Criteo's, and its peak memory.

    python -m experiments.bench.criteo_file --folder=/scratch

Writes a gzip file of `--file_rows` rows in Criteo's format into a new folder
inside --folder (a block of random rows over and over, as gzip members), and
prints one JSON line: seconds (of the clock and of the processors) and peak
memory of the first reading into columns, of the cached one, and of a whole
`load_criteo` from the cache (its rows: those of OBS), each in a process of its
own. The folder is removed.
"""

import gzip
import io
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from absl import flags

from bidfcl_jax.data import criteo
from experiments import guard

_ROWS = flags.DEFINE_integer(
  "file_rows", criteo.ROWS, "Rows of the file.", 1000
)
_FOLDER = flags.DEFINE_string("folder", None, "Where there is room.")
_BLOCK = 1 << 18
_SPIKE = 0.6


def block(rows: int, seed: int = 0) -> bytes:
  """Returns rows of CSV text: Criteo's ranges, spikes and rates."""
  rng = np.random.default_rng(seed)
  columns = {}
  for name, limits in criteo.FEATURES.items():
    low, high = limits.low + 0.002, limits.high - 0.002
    values = rng.uniform(low, high, rows)
    columns[name] = np.where(rng.random(rows) < _SPIKE, low, values)
  treated = rng.random(rows) < 0.85
  visit = rng.random(rows) < 0.038 + 0.010 * treated
  columns |= {
    "treatment": treated,
    "conversion": visit & (rng.random(rows) < 0.06),
    "visit": visit,
    "exposure": treated & (rng.random(rows) < 0.036),
  }
  frame = pl.DataFrame(columns).with_columns(pl.col(pl.Boolean).cast(pl.Int8))
  text = io.BytesIO()
  frame.write_csv(text, include_header=False)
  return text.getvalue()


def write_file(path: Path, rows: int) -> None:
  """Writes a gzip file of the header and `rows` rows."""
  header = ",".join([*criteo.FEATURES, *criteo.CODES]) + "\n"
  size = min(rows, _BLOCK)
  text = block(size)
  member = gzip.compress(text, 6)
  rest = b"".join(text.splitlines(keepends=True)[: rows % size])
  with open(path, "xb") as file:
    file.write(gzip.compress(header.encode()))
    for _ in range(rows // size):
      file.write(member)
    if rest:
      file.write(gzip.compress(rest, 6))


def _timed(what: str, path: Path, cache: Path, answer) -> None:
  import jax

  start, cpu = time.perf_counter(), time.process_time()
  if what == "study":
    study = criteo.load_criteo(path, key=jax.random.key(0), cache=cache)
    rows = len(study.obs)
  else:
    rows = len(criteo.read_file(path, cache=cache).codes)
  seconds = time.perf_counter() - start
  cpu = time.process_time() - cpu
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  answer.put(
    {
      f"{what}_rows": rows,
      f"{what}_s": round(seconds, 2),
      f"{what}_cpu_s": round(cpu, 2),
      f"{what}_peak_gb": round(peak, 2),
    }
  )


def main() -> None:
  """Writes the file, reads it three times and prints the line."""
  spawn = multiprocessing.get_context("spawn")
  with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
    path = Path(folder) / "criteo.csv.gz"
    start = time.perf_counter()
    write_file(path, _ROWS.value)
    line = {
      "rows": _ROWS.value,
      "file_mb": round(path.stat().st_size / 2**20, 1),
      "write_s": round(time.perf_counter() - start, 1),
    }
    for what in ("first", "cached", "study"):
      answer = spawn.SimpleQueue()
      process = spawn.Process(
        target=_timed, args=(what, path, Path(folder) / "cache", answer)
      )
      process.start()
      process.join()
      if process.exitcode:
        raise ChildProcessError(
          f"the {what} reading ended with {process.exitcode}"
        )
      line |= answer.get()
  print(json.dumps(line))


if __name__ == "__main__":
  guard.run(main)
