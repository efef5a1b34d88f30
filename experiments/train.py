r"""Trains methods and compares them: the main command.

  python -m experiments.train

trains Bi-DFCL-PPL and its plain rivals on three simulated worlds and writes a
table and a picture. Several methods and seeds go in one call; the same command
on an unfinished run goes on where it stopped.

  python -m experiments.train --data=hillstrom --data_path=hillstrom.csv.gz \
    --seeds=5 --workdir=runs/hillstrom
"""

import dataclasses
import signal
import sys

import jax
from absl import flags

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods, training
from bidfcl_jax.report import SIMPLE_RIVALS, claim, default_workdir
from experiments import common, guard, publish, roster, runner, tuned

METHOD = flags.DEFINE_list(
  "method",
  [*SIMPLE_RIVALS, "Bi-DFCL-PPL"],
  "Methods separated by commas, or all: every one that can run, the others "
  "named on stderr. Known: " + ", ".join(methods.names()),
)
TUNED = flags.DEFINE_list(
  "tuned",
  None,
  "The chosen.json of experiments.tune, or several separated by commas: each "
  "method runs with its own values there, but for options given as --config "
  "flags, which win.",
)
SEEDS = flags.DEFINE_integer(
  "seeds",
  3,
  "Number of seeds: worlds on simulated data, else draws of splits, hybrid and "
  "initial weights.",
  lower_bound=1,
)
FIRST_SEED = flags.DEFINE_integer(
  "first_seed", 0, "The first seed.", lower_bound=0
)
SEEDS_AT_ONCE = flags.DEFINE_integer(
  "seeds_at_once",
  1,
  "Seeds trained side by side in one compiled step, which bounds memory. For "
  "accelerators that one small network leaves idle; a stopped group begins "
  "again, since only single seeds have checkpoints.",
  lower_bound=1,
)
TOTAL_BUDGET = flags.DEFINE_float(
  "total_budget", None, "Budget over all test individuals; or give --budget."
)
WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; default: a new one under runs/."
)
OVERWRITE = flags.DEFINE_bool(
  "overwrite", False, "Start afresh where a run stands; it is moved aside."
)


def _plan(config: config_lib.Config, seeds, study, load) -> runner.Plan:
  """Returns what to do, of methods that can run, each by its own settings."""
  plan = runner.Plan((), seeds, config, load, common.given_flags())
  if TUNED.value is not None:
    searched = tuned.read_all(TUNED.value)
    tuned.check_use(searched, seeds, config, common.given_flags())
    own = tuned.options_of(searched, common.given_overrides())
    plan = plan._replace(tuned=own, note=searched.words)
  names = roster.runnable(METHOD.value, "method", plan.config_of, study)
  if TUNED.value is not None:
    tuned.check_searched(plan.tuned, names)
  own = {name: plan.tuned[name] for name in names if name in plan.tuned}
  return plan._replace(
    names=names,
    tuned=own,
    at_once=SEEDS_AT_ONCE.value,
    lenient=METHOD.value == roster.ALL,
  )


def _stop_on_sigterm():
  asked = []
  signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
  return lambda: bool(asked)


def main() -> None:
  """Runs the command."""
  config = common.resolved_config()
  roster.known_names(METHOD.value, "method")
  seeds = tuple(range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value))
  if TOTAL_BUDGET.value is not None and config.budget is not None:
    raise ValueError("give --budget or --total_budget, not both")
  first = common.load_study(config, seeds[0])
  if TOTAL_BUDGET.value is not None:
    share = TOTAL_BUDGET.value / len(first.rct_test)
    config = dataclasses.replace(config, budget=share)
  cache = {seeds[0]: first}

  def load(seed):
    return cache.pop(seed, None) or common.load_study(config, seed)

  plan = _plan(config, seeds, first, load)
  settings = {
    "data": common.DATA.value,
    "methods": plan.names,
    "seeds": seeds,
    **config_lib.as_dict(config),
  }
  if plan.note:
    settings |= {"tuned": plan.tuned, "note": plan.note}
  folder = WORKDIR.value or default_workdir(f"train-{common.DATA.value}")
  should_stop = _stop_on_sigterm()
  with claim(
    folder, settings, runner.study_hash(first), overwrite=OVERWRITE.value
  ) as workdir:
    device = jax.devices()[0]
    precision = jax.config.jax_default_matmul_precision or "default"
    print(
      f"{'going on' if workdir.resumed else 'starting'}: {len(plan.names)} "
      f"methods x {len(seeds)} seeds on {device.platform} "
      f"({device.device_kind}), matmul precision {precision}, results in "
      f"{workdir.path}",
      file=sys.stderr,
    )
    del first
    try:
      results = runner.run(plan, workdir, should_stop)
    except training.Stopped as stopped:
      # A folder by default has a name of its own in every call.
      where = "" if WORKDIR.value else f" with --workdir={workdir.path}"
      raise training.Stopped(
        f"{stopped}; the same command{where} goes on"
      ) from None
    there = {result.method for result in results}
    plan = plan._replace(names=tuple(n for n in plan.names if n in there))
    if not plan.names:
      raise ValueError("--method=all: the data refuse every method")
    print(publish.publish(results, plan, workdir.path, common.DATA.value))
    workdir.finish({"results": [r.to_record() for r in results]})
    print(f"\ntables, figures and checkpoints: {workdir.path}")


if __name__ == "__main__":
  guard.run(main)
