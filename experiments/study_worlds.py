"""The fits of a study: variants on one world, judged by true outcomes.

Variants that share a teacher share its training.
"""

import time
from typing import Any

import jax

from bidfcl_jax import config as config_lib
from bidfcl_jax import evaluation, methods, training
from bidfcl_jax.keys import stream
from bidfcl_jax.methods.teachers import teacher_config
from bidfcl_jax.report import Result
from experiments import common, study_plus, study_sets
from experiments.study_sets import StudySet, Variant

SETS = {**study_sets.SETS, **study_plus.SETS}
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
  options["budget"] = common.BUDGET.value
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


def run_world(variants, seed: int, made, done, workdir, bar) -> None:
  """Trains the missing variants of one world and logs their results.

  Args:
    variants: rows of the table.
    seed: the world's.
    made: label -> (method, settings); all have one world and one budget.
    done: (label, seed) of the results that stand already.
    workdir: logs.
    bar: tells how far it is.
  """
  todo = [v for v in variants if (v.label, seed) not in done]
  if not todo:
    return
  _, shared = made[todo[0].label]
  study = common.load_study(shared, seed)
  budget = methods.study_budget(shared, study)
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
