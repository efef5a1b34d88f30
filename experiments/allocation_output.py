"""The output of allocate: written piece by piece, there whole or not at all."""

import contextlib
import gzip
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from bidfcl_jax.files import replacing


def check_files(source: str, output: str, *, overwrite: bool) -> None:
  """Refuses an output that stands, or that is no kind of file we write.

  Raises:
    ValueError: the flag at fault and the way out.
  """
  path = Path(output)
  if not output.endswith((".csv", ".csv.gz", ".parquet")):
    raise ValueError(f"--output={output}: give a .csv, .csv.gz or .parquet")
  if path.exists() and path.samefile(source):
    raise ValueError(f"--output={output} is the input; give another file")
  if path.exists() and not overwrite:
    raise ValueError(f"--output={output} stands; give --overwrite, or another")


@contextlib.contextmanager
def writer(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
  """Yields a function that adds the rows of a frame to a file.

  The file appears whole when the block ends, or not at all.

  Args:
    path: .csv, .csv.gz or .parquet; its kind is told by the name.
  """
  with replacing(path) as temporary:
    if path.suffix == ".parquet":
      with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts: list[Path] = []

        def keep(frame):
          parts.append(Path(folder) / f"{len(parts):06d}.parquet")
          frame.write_parquet(parts[-1])

        yield keep
        pl.scan_parquet(parts).sink_parquet(temporary)
      return
    zipped = path.suffix == ".gz"
    with (
      gzip.open(temporary, "wb", compresslevel=1)
      if zipped
      else open(temporary, "xb")
    ) as text:
      headers = itertools.chain([True], itertools.repeat(False))
      yield lambda frame: frame.write_csv(text, include_header=next(headers))
