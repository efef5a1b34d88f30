r"""Writes a made-up company's files, to walk the whole path on.

  python -m experiments.example --folder=example

history.parquet     logged offers and a small experiment, one row an individual
individuals.parquet those who are to get an offer now
table.flags         what the columns mean, for --flagfile=example/table.flags

The people are simulated (S1): five discounts, logs biased by a policy that saw
more than the features show, an experiment with offers drawn at random.
"""

from pathlib import Path

import jax
import numpy as np
import polars as pl
from absl import flags

from bidfcl_jax import data
from bidfcl_jax.config import SimulatorConfig
from bidfcl_jax.files import replacing, write_atomic
from bidfcl_jax.types import Samples
from experiments import guard

FOLDER = flags.DEFINE_string("folder", "example", "Folder for the files.")
OBS_ROWS = flags.DEFINE_integer("obs_rows", 40_000, "Logged rows.", 100)
RCT_ROWS = flags.DEFINE_integer("rct_rows", 12_000, "Rows of the trial.", 100)
INDIVIDUALS = flags.DEFINE_integer("individuals", 20_000, "To be served.", 1)
SEED = flags.DEFINE_integer("seed", 0, "World.", 0)

FEATURES = 12


def _features(samples: Samples, names) -> dict[str, np.ndarray]:
  columns = np.asarray(samples.features, np.float64).T
  return dict(zip(names, columns, strict=True))


def _columns(samples: Samples, names, arms) -> dict[str, np.ndarray]:
  """Returns the columns of rows with outcomes, money in cents."""
  return _features(samples, names) | {
    "offer": np.asarray(arms)[samples.arm],
    "revenue": np.round(np.asarray(samples.revenue, np.float64), 2),
    "cost": np.round(np.asarray(samples.cost, np.float64), 2),
  }


def _write(path: Path, frame: pl.DataFrame) -> None:
  with replacing(path) as temporary:
    frame.write_parquet(temporary)


def main() -> None:
  """Runs the command."""
  folder = Path(FOLDER.value)
  if (folder / "history.parquet").exists():
    raise ValueError(f"{folder} holds an example; name another --folder")
  folder.mkdir(parents=True, exist_ok=True)
  study = data.simulate(
    jax.random.key(SEED.value),
    SimulatorConfig(
      n_obs=OBS_ROWS.value,
      n_rct=RCT_ROWS.value,
      n_valid=10,
      n_test=INDIVIDUALS.value,
      features=FEATURES,
    ),
  )
  names = [f"x{k}" for k in range(FEATURES)]
  arms = ["none", "5%", "10%", "15%", "20%"]
  parts = []
  for source, samples in (("obs", study.obs), ("rct", study.rct_train)):
    frame = pl.DataFrame(_columns(samples, names, arms))
    parts.append(frame.with_columns(source=pl.lit(source)))
  history = pl.concat(parts).with_row_index("id")
  _write(folder / "history.parquet", history)
  people = pl.DataFrame(_features(study.rct_test, names))
  _write(folder / "individuals.parquet", people.with_row_index("id"))
  words = [
    "--data=table",
    f"--data_path={folder / 'history.parquet'}",
    f"--features={','.join(names)}",
    "--arm_column=offer",
    f"--arms={','.join(arms)}",
    "--revenue_column=revenue",
    "--cost_column=cost",
    "--source_column=source",
    "--id_column=id",
  ]
  write_atomic(folder / "table.flags", "\n".join(words) + "\n")
  print(
    f"{folder}: {len(history):,} rows of history, {INDIVIDUALS.value:,} "
    "individuals, table.flags"
  )


if __name__ == "__main__":
  guard.run(main)
