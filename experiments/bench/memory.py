r"""Time and temporary memory of a bi-level block as its sizes grow.

    python -m experiments.bench.memory --json=memory.json

One block (a bridge update and `upper_every` target steps) is compiled for each
size, and XLA says how much memory it needs beside its arguments and results.
Beginning from the base sizes, one of them grows at a time: OBS batch, width of
the two networks, assumed steps k, iterations n_cg; with and without recomputed
hidden layers (network.remat). Implicit differentiation stores no inner steps,
so its memory must not grow with k; through unrolled steps it does.
"""

import statistics

import jax
import jax.numpy as jnp
from absl import flags

from bidfcl_jax import methods
from bidfcl_jax.keys import stream
from experiments import guard
from experiments.bench import list_flags
from experiments.bench.measure import REPEATS, publish, rounds
from experiments.bench.warmed import (
  SHAPE,
  Warmed,
  last_stage,
  shape_config,
  simulated,
)

_BATCHES = flags.DEFINE_list("memory_batches", ["256", "1000", "4000"], "n")
_WIDTHS = flags.DEFINE_list("memory_widths", ["32", "64", "128"], "units")
_STEPS = flags.DEFINE_list("memory_steps", ["1", "5", "20", "50"], "k")
_N_CG = flags.DEFINE_list("memory_n_cg", ["5", "20", "50"], "iterations")


def sizes() -> dict[str, dict]:
  """Returns name -> changes of the settings."""
  made = {"base": {}}
  for n in list_flags.whole_numbers(_BATCHES):
    made[f"batch {n}"] = {"obs__batch": n}
  for units in list_flags.whole_numbers(_WIDTHS):
    made[f"width {units}"] = {"network__hidden": (units,) * 3}
  for k in list_flags.whole_numbers(_STEPS):
    made[f"k {k}"] = {"bilevel__assumed_steps": k}
  for k in list_flags.whole_numbers(_STEPS):
    made[f"unrolled, k {k}"] = {
      "bilevel__assumed_steps": k,
      "bilevel__solver": "unrolled",
    }
  for n in list_flags.whole_numbers(_N_CG):
    made[f"n_cg {n}"] = {"bilevel__n_cg": n}
  return made


def main() -> None:
  """Compiles and runs each size; prints the table."""
  all_changes = sizes()
  study = simulated(shape_config(SHAPE.value, "recommended"))
  lines = []
  for name, changes in all_changes.items():
    line = {"size": name}
    for remat in (False, True):
      config = shape_config(
        SHAPE.value, "recommended", network__remat=remat, **changes
      )
      made = methods.make("Bi-DFCL-PPL", config)
      key = jax.random.key(0)
      # New weights serve: memory does not depend on what they are.
      fresh = Warmed(study, made.init(stream(key, "init"), study), key)
      period = config.bilevel.upper_every
      epoch = last_stage("Bi-DFCL-PPL", config, fresh, period)
      compiled = epoch.scan.lower(epoch.progress, *epoch.args).compile()
      memory = compiled.memory_analysis().temp_size_in_bytes

      def run(compiled=compiled, epoch=epoch):
        copy = jax.tree.map(jnp.copy, epoch.progress)
        return compiled(copy, *epoch.args)

      seconds, _ = rounds({name: run}, REPEATS.value)
      word = ", remat" if remat else ""
      line[f"MB{word}"] = memory / 1e6
      line[f"ms{word}"] = 1e3 * statistics.median(seconds[name].wall)
      line[f"CPU ms{word}"] = 1e3 * statistics.median(seconds[name].cpu)
    lines.append(line)
  publish(
    f"Temporary memory and time of one block, --shape={SHAPE.value}, "
    f"{REPEATS.value} rounds.",
    lines,
  )


if __name__ == "__main__":
  guard.run(main)
