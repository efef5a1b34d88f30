"""Where tests find the real data sets, which are not part of the project."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def real_file(name: str) -> Path:
  """Returns a file such as "hillstrom/hillstrom.csv.gz", or skips the test."""
  folder = Path(os.environ.get("BIDFCL_DATA") or SHARED)
  if not (folder / name).is_file():
    pytest.skip(f"no {name} in {folder}; set BIDFCL_DATA to the data folder")
  return folder / name
