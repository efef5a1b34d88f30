r"""Compares variants of methods on fresh simulated worlds: what matters.

  python -m experiments.study --set=ladder --seeds=10 --first_seed=100

trains each variant of a set (study_sets.py, study_plus.py) on each world and
writes a table of paired differences to the set's first variant, by true
outcomes. Variants that share a teacher share its training. The same command
goes on where it stopped.
"""

import sys
import time
from typing import Any

import jax
import tqdm
from absl import flags, logging

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, evaluation, methods, training
from bidfcl_jax.files import write_atomic
from bidfcl_jax.keys import stream
from bidfcl_jax.methods.teachers import teacher_config
from bidfcl_jax.report import Result, claim, collect, default_workdir
from experiments import common, study_plus, study_sets, study_table
from experiments.study_sets import StudySet, Variant

SETS = {**study_sets.SETS, **study_plus.SETS}

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

BUDGETS = (0.5, 1.0, 1.5)
_SEEN = (
  "cg_residual",
  "negative_curvature",
  "bridge_skipped",
  "gate_revenue_mean",
  "gate_revenue_sd",
  "price_clipped",
)


# What the teacher's stages leave in a state.
_TAUGHT = ("members", "origins", "target")


def settings(chosen: StudySet, variant: Variant) -> config_lib.Config:
  """Returns a variant's settings: set, then command line, then variant."""
  options = {**chosen.base, **common.given_overrides(), **variant.options}
  recipe = variant.recipe or common.RECIPE.value
  options["training.checkpoint"] = common.CHECKPOINT.value
  return config_lib.make(common.PRESET.value, recipe, options)


def teacher_length(method: methods.Method) -> int:
  """Returns how many first stages end with the last stored member."""
  stored = [
    k + 1
    for k, stage in enumerate(method.stages)
    if stage.name.startswith("store-")
  ]
  return max(stored, default=0)


def _teacher_key(method, config, length: int) -> str:
  """What the state after the teacher's stages is a function of."""
  own = teacher_config(config)
  return repr(
    (
      [stage.name for stage in method.stages[:length]],
      [own.obs, own.rct, own.finetune, own.network, config.network],
      [config.bilevel.cross_fit, config.bilevel.teacher_share],
      [config.training, config.simple],
    )
  )


def fit(method, study, key, config, teachers: dict[str, Any]):
  """Trains a method, with a teacher that may be there already.

  Returns:
    (state, history of the stages after the teacher).
  """
  length = teacher_length(method)
  if not length or length == len(method.stages):
    return training.fit(method, study, key, config)
  name = _teacher_key(method, config, length)
  if name not in teachers:
    first = method._replace(stages=method.stages[:length])
    state, _ = training.fit(first, study, key, config)
    teachers[name] = {k: getattr(state, k) for k in _TAUGHT}
  state = method.init(stream(key, "init"), study.for_learners())
  state = state.replace(**teachers[name])
  return training.fit(method, study, key, config, begin=(length, state))


def judge(method, state, study, budget: float) -> dict[str, float]:
  """Returns true revenue at exact budget for three budgets; per capita."""
  outcomes = methods.predict_rows(method, state, study.rct_test.features)
  return {
    f"oracle_eom@{share:g}": evaluation.oracle_eom(
      outcomes, study.truth.outcomes, share * budget
    ).revenue
    for share in BUDGETS
  }


def run_world(chosen, variants, seed: int, made, done, workdir, bar) -> None:
  """Trains the missing variants of one world and logs their results."""
  todo = [v for v in variants if (v.label, seed) not in done]
  if not todo:
    return
  world = made[todo[0].label][1].simulator
  study = data.simulate(stream(jax.random.key(seed), "study"), world)
  budget = float(study.budget)
  oracle = {
    f"oracle_eom@{share:g}": evaluation.oracle_policy(
      study.truth.outcomes, share * budget
    ).revenue
    for share in BUDGETS
  }
  workdir.log(Result("oracle policy", seed, oracle).to_record())
  teachers: dict[str, Any] = {}
  for variant in todo:
    bar.set_description(f"{variant.label}, world {seed}")
    method, config = made[variant.label]
    begun = time.monotonic()
    state, history = fit(
      method, study, stream(jax.random.key(seed), "fit"), config, teachers
    )
    metrics = judge(method, state, study, budget)
    last = history[-1] if history else {}
    metrics |= {name: last[name] for name in _SEEN if name in last}
    workdir.log(
      Result(variant.label, seed, metrics, time.monotonic() - begun).to_record()
    )
    bar.update()


def main() -> None:
  """Runs the command."""
  chosen = SETS[SET.value]
  variants = chosen.variants
  if ONLY.value is not None:
    known = {v.label: v for v in variants}
    unknown = [label for label in ONLY.value if label not in known]
    if unknown:
      raise ValueError(
        f"--only={unknown[0]} is no row of --set={SET.value}; its rows: "
        + ", ".join(known)
      )
    variants = tuple(known[label] for label in ONLY.value)
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
        run_world(chosen, variants, seed, made, done, workdir, bar)
    results = collect(workdir.path)
    world = next(iter(made.values()))[1].simulator
    text = study_table.markdown(
      results,
      [v.label for v in variants],
      f"{chosen.about}; {world.kind}, {world.n_obs:,} OBS and {world.n_rct:,} "
      f"RCT rows a world",
    )
    write_atomic(workdir.path / "table.md", text)
    workdir.finish({"results": [r.to_record() for r in results]})
    print(text)
    print(f"results: {workdir.path}", file=sys.stderr)


if __name__ == "__main__":
  common.run(main)
