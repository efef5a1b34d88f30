r"""Times several seeds side by side against one after the other.

    python -m experiments.bench.seeds --seed_counts=1,4,8,20

Each count of seeds trains a method twice, vmapped (training/seeds.py) and one
seed at a time by the same code. A training before the rounds compiles what
later ones can take over; a function that each fit makes anew is compiled within
its time, as it is for a user. Goal on an accelerator: 8 seeds for at most 3
times one seed; a CPU has no idle units to fill, and the ratio is what it is.
"""

import statistics

import jax
from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods
from bidfcl_jax.training import fit_seeds
from experiments import guard
from experiments.bench import list_flags
from experiments.bench.measure import REPEATS, median_ratio, publish, rounds
from experiments.bench.warmed import SHAPE, shape_config, simulated

_COUNTS = flags.DEFINE_list("seed_counts", ["1", "4", "8", "20"], "seeds")
_METHOD = flags.DEFINE_enum(
  "method", "Bi-DFCL-PPL", list(methods.names()), "what is trained"
)
_RECIPE = flags.DEFINE_enum(
  "seeds_recipe", "recommended", list(config_lib.RECIPES), "its recipe"
)


def main() -> None:
  """Runs the rounds and prints the table."""
  counts = list_flags.whole_numbers(_COUNTS)
  if not counts:
    raise ValueError("--seed_counts= names no count of seeds")
  config = shape_config(SHAPE.value, _RECIPE.value)
  study = simulated(config)
  made = methods.make(_METHOD.value, config)

  def training(seeds: int, at_once: int):
    def run():
      keys = [jax.random.key(seed) for seed in range(seeds)]
      fits = fit_seeds(made, [study] * seeds, keys, config, at_once=at_once)
      return [state.target for state, _ in fits]

    return run

  runs = {"one": training(1, 1)}
  for count in counts:
    runs[f"{count} at once"] = training(count, count)
    runs[f"{count} in turn"] = training(count, 1)
  seconds, _ = rounds(runs, REPEATS.value)
  lines = []
  for count in counts:
    own, turn = seconds[f"{count} at once"], seconds[f"{count} in turn"]
    lines.append(
      {
        "seeds": count,
        "at once, s": statistics.median(own.wall),
        "in turn, s": statistics.median(turn.wall),
        "at once / one seed": median_ratio(own.wall, seconds["one"].wall),
        "at once / in turn": median_ratio(own.wall, turn.wall),
        "by CPU": median_ratio(own.cpu, turn.cpu),
      }
    )
  publish(
    f"{_METHOD.value}, a whole fit of {config.obs.epochs} epochs over "
    f"{len(study.obs)} OBS rows, --shape={SHAPE.value}, "
    f"{REPEATS.value} rounds.",
    lines,
  )


if __name__ == "__main__":
  guard.run(main)
