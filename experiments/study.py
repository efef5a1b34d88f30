r"""Compares variants of methods on fresh simulated worlds: what matters.

  python -m experiments.study --set=ladder --seeds=10 --first_seed=100

trains each variant of a set (study_sets.py, study_plus.py) on each world and
writes a table of paired differences to the set's first variant, by true
outcomes. Variants that share a teacher share its training. The same command
goes on where it stopped.
"""

import sys

import tqdm
from absl import flags, logging

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods
from bidfcl_jax.files import write_atomic
from bidfcl_jax.report import claim, collect, default_workdir
from experiments import common, guard, study_table
from experiments.study_sets import StudySet, Variant
from experiments.study_worlds import SETS, run_world, settings

SET = flags.DEFINE_enum("set", "ladder", list(SETS), "Which rows to compare.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Worlds.", lower_bound=1)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "First world.", 0)
ONLY = flags.DEFINE_list(
  "only",
  None,
  "Labels to run, in quotes where one holds a comma; default: all.",
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder; default: under runs/.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Start afresh.")


def picked(chosen: StudySet) -> tuple[Variant, ...]:
  """Returns the rows of a set that --only names.

  Raises:
    ValueError: no name, or one that is no row, with the set's rows.
  """
  if ONLY.value is None:
    return chosen.variants
  known = {v.label: v for v in chosen.variants}
  for label in ONLY.value or [""]:
    if label not in known:
      raise ValueError(
        f"--only={label} is no row of --set={SET.value}; its rows: "
        + ", ".join(known)
      )
  return tuple(known[label] for label in dict.fromkeys(ONLY.value))


def main() -> None:
  """Runs the command."""
  # For its refusals: each variant has settings of its own.
  common.resolved_config()
  common.require_simulated("true outcomes are known")
  chosen = SETS[SET.value]
  variants = picked(chosen)
  made = {}
  for variant in variants:
    config = settings(chosen, variant)
    made[variant.label] = methods.make(variant.method, config), config
  seeds = range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value)
  record = {
    "set": SET.value,
    "seeds": list(seeds),
    "variants": {
      label: config_lib.as_dict(config) for label, (_, config) in made.items()
    },
  }
  logging.set_verbosity(logging.ERROR)
  folder = WORKDIR.value or default_workdir(f"study-{SET.value}")
  with claim(folder, record, "simulated", overwrite=OVERWRITE.value) as workdir:
    done = set()
    if workdir.resumed:
      done = {(r.method, r.seed) for r in collect(workdir.path)}
    total = len(seeds) * len(variants)
    with tqdm.tqdm(total=total, initial=0, unit="fit", mininterval=10) as bar:
      for seed in seeds:
        run_world(variants, seed, made, done, workdir, bar)
    results = collect(workdir.path)
    shared = next(iter(made.values()))[1]
    world = shared.simulator
    own = shared.budget
    budget = "" if own is None else f", budget {own:g} per capita"
    text = study_table.markdown(
      results,
      [v.label for v in variants],
      f"{chosen.about}; {world.kind}, {world.n_obs:,} OBS and {world.n_rct:,} "
      f"RCT rows a world{budget}",
    )
    write_atomic(workdir.path / "table.md", text)
    workdir.finish({"results": [r.to_record() for r in results]})
    print(text)
    print(f"results: {workdir.path}", file=sys.stderr)


if __name__ == "__main__":
  guard.run(main)
