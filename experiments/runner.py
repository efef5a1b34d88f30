"""Several methods on several seeds: train, judge, keep; resumable.

The unit is a fit: one method on one seed, in a folder of its own. A fit whose
result stands in metrics.jsonl is not run again.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tqdm

from bidfcl_jax import methods, training
from bidfcl_jax.config import Config, with_options
from bidfcl_jax.files import read_lines, write_lines
from bidfcl_jax.keys import stream
from bidfcl_jax.report import Result, WorkDir, collect, versions
from bidfcl_jax.types import Study
from experiments import metrics as metrics_lib

SERVED = "served"


class Plan(NamedTuple):
  """What a run is to do.

  Attributes:
    names: methods.
    seeds: first to last.
    config: settings.
    load: seed -> Study.
    flags: how the data were named, kept with each stored model.
    tuned: method -> dotted option -> value, in place of those of `config`;
      a method that is missing has none of its own.
    note: what captions say of `tuned`.
    at_once: seeds that are trained side by side, in memory; 1: one after the
      other, each with checkpoints.
    lenient: a method whose fit the data refuse is left out, with a line on
      stderr, and the others run.
  """

  names: tuple[str, ...]
  seeds: tuple[int, ...]
  config: Config
  load: Callable[[int], Study]
  flags: Mapping[str, Any] = {}
  tuned: Mapping[str, Mapping[str, Any]] = {}
  note: str = ""
  at_once: int = 1
  lenient: bool = False

  def config_of(self, name: str) -> Config:
    """Returns the settings of one method."""
    return with_options(self.config, self.tuned.get(name, {}))


def study_hash(study: Study) -> str:
  """Returns sha256 of a study's arrays and names."""
  digest = hashlib.sha256(repr((study.arm_names, study.feature_names)).encode())
  for leaf in jax.tree.leaves(study):
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()


def fit_folder(workdir: Path, method: str, seed: int) -> Path:
  """Returns the folder of one fit."""
  return workdir / "fits" / method / f"seed-{seed}"


def _parameters(state) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(state.target))


def _training_seconds(history) -> float:
  """Training time without compilation: the first epoch counts as the others."""
  by_stage: dict[int, list[float]] = {}
  for line in history:
    by_stage.setdefault(line["stage_index"], []).append(line["seconds"])
  return sum(
    len(times) * float(np.mean(times[1:] or times))
    for times in by_stage.values()
  )


def _train(plan, method, studies: dict[int, Study], workdir, bar, should_stop):
  """Yields (seed, state, history) of one method on a group of seeds."""
  keys = {seed: stream(jax.random.key(seed), "fit") for seed in studies}
  config = plan.config_of(method.name)
  if plan.at_once > 1 and method.fit is None:
    done = training.fit_seeds(
      method,
      list(studies.values()),
      list(keys.values()),
      config,
      at_once=plan.at_once,
      on_record=lambda _: bar.update(),
      should_stop=should_stop,
    )
    for seed, (state, history) in zip(studies, done, strict=True):
      folder = fit_folder(workdir, method.name, seed)
      write_lines(folder / "metrics.jsonl", history)
      yield seed, state, history
    return
  for seed, study in studies.items():
    folder = fit_folder(workdir, method.name, seed)
    seen = len(read_lines(folder / "metrics.jsonl"))
    bar.update(min(seen, _epochs(method)))
    state, history = training.fit(
      method,
      study,
      keys[seed],
      config,
      folder,
      on_record=lambda _: bar.update(),
      should_stop=should_stop,
    )
    yield seed, state, history


def _keep(plan, method, study, seed, folder, state, history) -> Result:
  """Judges a fit and stores what serves it."""
  outcomes = methods.predict_rows(method, state, study.rct_test.features)
  budget = methods.study_budget(plan.config, study)
  metrics, curve = metrics_lib.judge(outcomes, study, budget)
  metrics_lib.save_curve(folder, curve)
  store(plan, method, state, study, seed, folder)
  return Result(
    method.name,
    seed,
    {**metrics, "budget": budget},
    _training_seconds(history),
    _parameters(state),
  )


def store(
  plan: Plan, method: methods.Method, state, study: Study, seed: int, folder
) -> None:
  """Keeps in a fit's folder what evaluate and allocate need of it."""
  training.save_served(
    Path(folder) / SERVED,
    method,
    state,
    study,
    budget=methods.study_budget(plan.config, study),
    extra={
      "seed": seed,
      "flags": dict(plan.flags),
      "tuned": dict(plan.tuned.get(method.name, {})),
      "study_hash": study_hash(study),
      "versions": versions(),
    },
  )


def _fit(plan, method, studies, workdir: WorkDir, bar, should_stop) -> None:
  """Trains one method on a group of seeds; keeps and logs what it is worth."""
  for seed, state, history in _train(
    plan, method, studies, workdir.path, bar, should_stop
  ):
    folder = fit_folder(workdir.path, method.name, seed)
    result = _keep(plan, method, studies[seed], seed, folder, state, history)
    workdir.log(result.to_record())


def _forget_other_shapes(shapes: list | None, study: Study) -> list:
  """Drops compiled code that only rows of other shapes could use.

  Splits by household differ in size from seed to seed: everything is compiled
  anew, and a process can hold only so many memory maps before a compilation
  fails. Worlds of one size keep their code.

  Args:
    shapes: of the study before, or None.
    study: whose fits are next.

  Returns:
    The study's shapes.
  """
  own = [np.shape(leaf) for leaf in jax.tree.leaves(study)]
  if shapes not in (None, own):
    jax.clear_caches()
  return own


def _epochs(method: methods.Method) -> int:
  return sum(stage.epochs for stage in method.stages)


def run(plan: Plan, workdir: WorkDir, should_stop) -> list[Result]:
  """Runs what is missing and returns all results.

  Args:
    plan: methods, seeds, settings and data.
    workdir: claimed; results are logged there line by line.
    should_stop: see `training.fit`.

  Returns:
    One Result per (method, seed), yardsticks included; none of a method that
    was left out.

  Raises:
    ValueError: data that a method refuses, unless the plan is lenient.
  """
  done = set()
  if workdir.resumed:
    done = {(r.method, r.seed) for r in collect(workdir.path)}
  made = {name: methods.make(name, plan.config_of(name)) for name in plan.names}
  missing = [
    (name, seed)
    for seed in plan.seeds
    for name in plan.names
    if (name, seed) not in done
  ]
  total = sum(_epochs(made[name]) for name, _ in missing)
  quiet = not sys.stderr.isatty()
  bar = tqdm.tqdm(
    total=total, unit="epoch", mininterval=10 if quiet else 0.5, delay=0.5
  )
  shapes, refused = None, set()
  with bar:
    for first in range(0, len(plan.seeds), plan.at_once):
      group = plan.seeds[first : first + plan.at_once]
      todo = {seed: [n for n, of in missing if of == seed] for seed in group}
      studies = {seed: plan.load(seed) for seed in group if todo[seed]}
      for seed, study in studies.items():
        shapes = _forget_other_shapes(shapes, study)
        yardsticks = metrics_lib.yardsticks(
          study,
          methods.study_budget(plan.config, study),
          fit_folder(workdir.path, "ORACLE", seed),
        )
        for name, metrics in yardsticks.items():
          workdir.log(Result(name, seed, metrics).to_record())
      for name in plan.names:
        own = {k: study for k, study in studies.items() if name in todo[k]}
        if not own or name in refused:
          continue
        fit = f"{name}, seed {', '.join(map(str, own))}"
        bar.set_description(fit)
        try:
          _fit(plan, made[name], own, workdir, bar, should_stop)
        except ValueError as error:
          if not plan.lenient:
            raise
          refused.add(name)
          print(f"skipped {fit}: {error}", file=sys.stderr)
  return [r for r in collect(workdir.path) if r.method not in refused]
