"""The same fit over several seeds at once: only the step is mapped over them.

`init`, `enter` and `fixed` run seed by seed, since they work on the host; their
results are stacked, and the scan of an epoch is vmapped. Parts and auxiliary
arrays of unequal length are padded with zeros, and so with weight 0, to the
longest. One compilation serves all seeds; an accelerator that one small network
leaves idle trains several for little more (experiments/bench/seeds.py).

Everything stays in memory: a group of seeds that is stopped begins again.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import Config
from bidfcl_jax.data.batches import epoch_order, part
from bidfcl_jax.keys import stream
from bidfcl_jax.methods import Method, Stage, State
from bidfcl_jax.training.epochs import seeds_scan, start_stage
from bidfcl_jax.training.records import (
  Stopped,
  add_metrics,
  checked_skips,
  epoch_line,
  warn_of_shift,
  warn_without_signal,
)
from bidfcl_jax.training.validation import (
  candidate,
  chosen,
  measure,
  score,
  validation_of,
)
from bidfcl_jax.types import Study

History = list[dict[str, Any]]


def stack_padded(trees: Sequence[Any], fill: float = 0) -> Any:
  """Stacks equal structures, leaves padded on their first axis to the longest.

  Args:
    trees: pytrees of arrays, one a seed; shapes may differ in the first axis.
    fill: of the padding.
  """

  def stack(*leaves):
    leaves = [np.asarray(leaf) for leaf in leaves]
    if leaves[0].ndim == 0:
      return jnp.asarray(np.stack(leaves))
    longest = max(len(leaf) for leaf in leaves)

    def pad(leaf):
      width = [(0, longest - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)
      return np.pad(leaf, width, constant_values=fill)

    return jnp.asarray(np.stack([pad(leaf) for leaf in leaves]))

  return jax.tree.map(stack, *trees)


def _taken(tree: Any, position: int) -> Any:
  return jax.tree.map(lambda leaf: leaf[position], tree)


class _Lanes:
  """Seeds side by side; `fit_seeds` is its only user."""

  def __init__(self, method, studies, keys, config: Config, on_record, stop):
    self.method, self.config, self.keys = method, config, keys
    shown = method.reads_logging
    self.studies = [study.for_learners(logging=shown) for study in studies]
    self.rule = config.training.checkpoint
    self.on_record, self.stop = on_record, stop
    self.histories: list[History] = [[] for _ in keys]
    self.valid = [validation_of(study, config) for study in self.studies]

  def orders(self, stage: Stage, keys, epoch: int):
    """Returns the epoch's rows of all seeds, `[seeds, blocks, ...]`."""
    return stack_padded(
      [
        epoch_order(
          jax.random.fold_in(stream(key, "order"), epoch),
          study,
          stage.reads,
          stage.batch,
          stage.period,
        )
        for key, study in zip(keys, self.studies, strict=True)
      ],
      fill=-1,
    )

  def run_stage(self, index: int, states: list[State]) -> list[State]:
    stage = self.method.stages[index]
    keys = [stream(key, stage.name) for key in self.keys]
    aux = stack_padded(
      [
        stage.fixed(state, study)
        for state, study in zip(states, self.studies, strict=True)
      ]
    )
    samples = stack_padded([part(s, stage.reads) for s in self.studies])
    steps = jnp.stack([stream(key, "step") for key in keys])
    progress = stack_padded([start_stage(state) for state in states])
    scan = seeds_scan(stage.step, self.config.training.ema)
    best = [state.target for state in states]
    best_score = [float("-inf")] * len(states)
    skips = [0] * len(states)
    for epoch in range(stage.epochs):
      begun = time.monotonic()
      rows = self.orders(stage, keys, epoch)
      first = epoch * len(jax.tree.leaves(rows)[0][0])
      progress, metrics = scan(progress, samples, rows, first, steps, aux)
      metrics = jax.device_get(metrics)
      seconds = (time.monotonic() - begun) / len(states)
      for k in range(len(states)):
        own = _taken(progress, k)
        seen = _taken(metrics, k)
        skips[k] = checked_skips(
          seen["skipped"],
          skips[k],
          self.config.training.max_skipped,
          int(own.state.step),
        )
        totals = add_metrics({}, seen)
        line = epoch_line(stage, index, epoch, own.state.step, totals)
        line |= measure(stage.apply, own, self.rule, self.valid[k])
        line["seconds"] = seconds
        warn_without_signal(line)
        self.histories[k].append(line)
        if self.on_record is not None:
          self.on_record(line)
        now = score(self.rule, line) if stage.keep else float("-inf")
        if now > best_score[k]:
          best_score[k], best[k] = now, candidate(own, self.rule)
      if self.stop():
        raise Stopped("stopped on request (this group of seeds begins again)")
    return [
      chosen(stage, _taken(progress, k), self.rule, best[k], best_score[k])
      for k in range(len(states))
    ]

  def run(self) -> list[State]:
    states = [
      self.method.init(stream(key, "init"), study)
      for key, study in zip(self.keys, self.studies, strict=True)
    ]
    for index, stage in enumerate(self.method.stages):
      states = [
        stage.enter(stream(stream(key, stage.name), "enter"), state, study)
        for key, state, study in zip(
          self.keys, states, self.studies, strict=True
        )
      ]
      if stage.epochs:
        states = self.run_stage(index, states)
    return states


def fit_seeds(
  method: Method,
  studies: Sequence[Study],
  keys: Sequence[jax.Array],
  config: Config,
  *,
  at_once: int = 8,
  on_record: Callable[[dict[str, Any]], None] | None = None,
  should_stop: Callable[[], bool] = lambda: False,
) -> list[tuple[State, History]]:
  """Trains a method on several seeds, `at_once` of them side by side.

  Args:
    method: a Method of stages.
    studies: one a seed, of equal arms and features.
    keys: one a seed; as for `fit`, with which the results agree up to rounding
      (to the batches and initial weights they are the same).
    config: settings.
    at_once: seeds in one vmapped scan; bounds memory.
    on_record: called with each epoch's record.
    should_stop: asked after every epoch; True raises Stopped.

  Returns:
    (state, history) of each seed; the seconds of a record are a seed's share.

  Raises:
    Diverged: see `fit`.
    Stopped: after should_stop.
    ValueError: a method without stages, or no seed at once.
  """
  if at_once < 1:
    raise ValueError(f"at_once={at_once} must be at least 1")
  if not method.stages:
    raise ValueError(f"{method.name} has no stages to map over seeds")
  for study in studies:
    warn_of_shift(study)
  done = []
  for first in range(0, len(keys), at_once):
    lanes = _Lanes(
      method,
      studies[first : first + at_once],
      keys[first : first + at_once],
      config,
      on_record,
      should_stop,
    )
    done += zip(lanes.run(), lanes.histories, strict=True)
  return done
