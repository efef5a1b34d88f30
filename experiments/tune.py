r"""Searches the settings of every method with the same number of trials.

  python -m experiments.tune --methods=all --trials=8 --seeds=2 \
    --workdir=runs/tune
  python -m experiments.train --tuned=runs/tune/chosen.json --seeds=10

Trial 0 is the run's own settings, the others are drawn (search_space.py).
Worlds begin at seed 1000, which no table uses (train refuses an overlap), and
are stripped of truth and test rows before a method sees them: a trial's value
is read off validation rows alone, and the best mean over worlds is chosen. All
trials stand in metrics.jsonl, the choice in chosen.json; the same command goes
on where it stopped, at a trial.

--criterion=valid_mse, the default: squared error of the factual outcomes in
scaled units. EOM on 5,000 validation rows has a relative standard error of 5 %
(0.5 % at 500,000), while settings differ by 0.2 to 1 % (simulator.md, rule 3):
the best of 8 by EOM would be chosen by noise. The price is that an error is
blind to what a decision loss adds; with --config.simulator.n_valid=500000 or
more take valid_eom (self-normalised, budget spent exactly). Methods that
predict no person's level of revenue (TSM-CF, DHCL, AVG-score, GROUND) have no
factual error: they are judged by valid_eom always, and their choice is as noisy
as that.

Options given as --config flags are not searched. On a real file seeds are
draws of its splits, so that validation rows of one are test rows of another:
tables are then not untouched by the search.
"""

import sys

import jax
import tqdm
from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods
from bidfcl_jax.config import Config
from bidfcl_jax.files import write_atomic
from bidfcl_jax.keys import stream
from bidfcl_jax.report import WorkDir, claim, default_workdir
from experiments import common, guard, roster, runner, trials, tuned
from experiments.search_space import SPACES, draw_trials

METHODS = flags.DEFINE_list(
  "methods", ["all"], "Methods separated by commas, or all that can run."
)
TRIALS = flags.DEFINE_integer(
  "trials", 8, "Trials a method, the defaults among them.", lower_bound=1
)
SEEDS = flags.DEFINE_integer("seeds", 2, "Worlds of a trial.", lower_bound=1)
FIRST_SEED = flags.DEFINE_integer(
  "first_seed", 1000, "First world; none of a table.", lower_bound=0
)
CRITERION = flags.DEFINE_enum(
  "criterion",
  "valid_mse",
  list(trials.CRITERIA),
  "What a trial is judged by, on validation rows: see above.",
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder; default: under runs/.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Start afresh.")

CHOSEN = "chosen.json"
# A trial compiles for itself, and a process can hold only so many memory maps
# (65,530 on Linux, some 450 a trial) before a compilation fails.
_TRIALS_IN_MEMORY = 16


def plan_trials(names, config: Config, given) -> dict[str, list[dict]]:
  """Returns method -> options of each trial; all are checked by being made."""
  planned = {}
  for name in names:
    space = {k: v for k, v in SPACES[name].items() if k not in given}
    key = stream(jax.random.key(FIRST_SEED.value), "tune")
    planned[name] = draw_trials(space, config, key, TRIALS.value)
    for options in planned[name]:
      methods.make(name, config_lib.with_options(config, options))
  return planned


def _search(planned, config, studies, criterion, workdir: WorkDir) -> None:
  """Runs the trials that are missing."""
  done = trials.logged(workdir)
  missing = [
    (name, number)
    for name, options in planned.items()
    for number in range(len(options))
    if (name, number) not in done
  ]
  bar = tqdm.tqdm(missing, unit="trial", mininterval=10)
  for run, (name, number) in enumerate(bar, 1):
    trial = trials.run_trial(
      name,
      number,
      planned[name][number],
      config,
      studies,
      trials.criterion_of(name, criterion),
    )
    workdir.log(trial.to_record())
    if run % _TRIALS_IN_MEMORY == 0:
      jax.clear_caches()


def _choose(found) -> dict[str, dict]:
  """Returns method -> options of its best trial."""
  own = {}
  for name, of_method in found.items():
    trial = trials.best(of_method)
    if trial is None:
      print(
        f"{name}: every trial failed, not chosen; the first: "
        f"{of_method[0].error}",
        file=sys.stderr,
      )
    else:
      own[name] = trial.options
  return own


def main() -> None:
  """Runs the command."""
  config = common.resolved_config()
  roster.known_names(METHODS.value, "methods")
  seeds = tuple(range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value))
  if common.DATA.value != "simulated":
    print(
      "note: seeds are draws of one file; validation rows of one are test rows "
      "of another",
      file=sys.stderr,
    )
  oracle = config.propensity.oracle
  # All in memory: a trial runs on each, and compiles once.
  studies = {
    seed: common.load_study(config, seed).for_learners(logging=oracle)
    for seed in seeds
  }
  first = studies[seeds[0]]
  names = roster.runnable(METHODS.value, "methods", lambda _: config, first)
  planned = plan_trials(names, config, common.given_overrides())
  settings = {
    "data": common.DATA.value,
    "seeds": seeds,
    "criterion": CRITERION.value,
    "trials": planned,
    **config_lib.as_dict(config),
  }
  folder = WORKDIR.value or default_workdir(f"tune-{common.DATA.value}")
  with claim(
    folder, settings, runner.study_hash(first), overwrite=OVERWRITE.value
  ) as workdir:
    _search(planned, config, studies, CRITERION.value, workdir)
    logged = trials.logged(workdir)
    found = {
      name: [logged[name, number] for number in range(TRIALS.value)]
      for name in names
    }
    own = _choose(found)
    search = tuned.Tuned(
      TRIALS.value,
      CRITERION.value,
      seeds,
      config.preset,
      config.recipe,
      tuned.settings_of(config, common.given_flags()),
      own,
    )
    tuned.write(workdir.path / CHOSEN, search)
    text = trials.table(found)
    write_atomic(workdir.path / "table.txt", text + "\n")
    workdir.finish({"chosen": own})
    print(text)
    print(f"chosen values: {workdir.path / CHOSEN}", file=sys.stderr)


if __name__ == "__main__":
  guard.run(main)
