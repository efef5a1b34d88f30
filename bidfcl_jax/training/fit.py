"""One trainer for every method: stages, epochs, validation, checkpoints.

The same call with the same folder goes on where a run was stopped, bit for bit
on one device: every epoch's order and every block's key are functions of the
seed, the stage's name and the block's number, and a resume calls a stage's
`fixed` but never its `enter`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bidfcl_jax.config import Config
from bidfcl_jax.data.batches import epoch_order, part
from bidfcl_jax.files import append_line, read_lines, write_lines
from bidfcl_jax.keys import stream
from bidfcl_jax.methods import Method, Stage, State
from bidfcl_jax.training.checkpoints import Checkpoints, Position
from bidfcl_jax.training.epochs import Progress, epoch_scan, start_stage
from bidfcl_jax.training.in_memory import fit_in_memory
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


class _Fit:
  """The moving parts of one fit; `fit` is its only user."""

  def __init__(self, method, study, key, config, workdir, on_record, stop):
    self.method, self.key, self.config = method, key, config
    self.study = study.for_learners(logging=method.reads_logging)
    self.on_record, self.stop = on_record, stop
    self.rule = config.training.checkpoint
    self.valid = validation_of(study, config)
    self.folder = None if workdir is None else Path(workdir)
    self.checkpoints = None
    if self.folder is not None:
      self.checkpoints = Checkpoints(self.folder / "checkpoints")
    self.history: History = []
    self.saved_at = time.monotonic()

  # -- what a checkpoint holds

  def snapshot(self, progress: Progress, best: Any) -> dict[str, Any]:
    return {
      "progress": progress,
      "best": best,
      "key": jax.random.key_data(self.key),
      "scalers": jax.tree.map(jnp.asarray, self.study.scalers),
    }

  def save(self, position, progress, best, meta) -> None:
    if self.checkpoints is not None:
      self.checkpoints.save(position, self.snapshot(progress, best), meta)
      self.saved_at = time.monotonic()

  def restore(self, state: State):
    """Returns (position, progress, best target, meta) to begin from."""
    progress = start_stage(state)
    fresh = (Position(), progress, state.target, {})
    if self.checkpoints is None:
      return fresh
    found = self.checkpoints.latest(self.snapshot(progress, state.target))
    if found is None:
      return fresh
    position, arrays, meta = found
    if not np.array_equal(arrays["key"], jax.random.key_data(self.key)):
      raise ValueError(
        f"{self.folder} holds a run of another seed; use another folder"
      )
    own = self.snapshot(progress, state.target)["scalers"]
    if not all(
      jax.tree.leaves(jax.tree.map(np.array_equal, arrays["scalers"], own))
    ):
      raise ValueError(
        f"{self.folder} holds a run on other data (its scalers differ); use "
        "another folder"
      )
    chunk = self.config.training.scan_blocks
    if meta.get("chunk", chunk) != chunk:
      raise ValueError(
        f"{self.folder} holds a run stopped inside an epoch with "
        f"training.scan_blocks={meta['chunk']}; go on with the same"
      )
    kept = [
      line
      for line in read_lines(self.folder / "metrics.jsonl")
      if (line["stage_index"], line["epoch"]) < position[:2]
    ]
    write_lines(self.folder / "metrics.jsonl", kept)
    self.history = kept
    return position, arrays["progress"], arrays["best"], meta

  def record(self, line: dict[str, Any]) -> None:
    warn_without_signal(line)
    self.history.append(line)
    if self.folder is not None:
      append_line(self.folder / "metrics.jsonl", line)
    if self.on_record is not None:
      self.on_record(line)

  # -- one stage

  def blocks(self, stage: Stage, key: jax.Array, epoch: int) -> list:
    """Returns the epoch's chunks, each of blocks `[size, period, batch]`."""
    order = epoch_order(
      jax.random.fold_in(key, epoch),
      self.study,
      stage.reads,
      stage.batch,
      stage.period,
    )
    total = len(jax.tree.leaves(order)[0])
    size = min(self.config.training.scan_blocks or total, total)
    missing = ((0, -total % size), (0, 0), (0, 0))
    order = jax.tree.map(
      lambda rows: np.pad(rows, missing, constant_values=-1), order
    )
    return [
      jax.tree.map(lambda rows, at=first: rows[at : at + size], order)
      for first in range(0, total, size)
    ]

  def run_stage(self, index: int, progress, best, position, meta):
    stage = self.method.stages[index]
    key = stream(self.key, stage.name)
    samples = jax.tree.map(jnp.asarray, part(self.study, stage.reads))
    aux = stage.fixed(progress.state, self.study)
    scan = epoch_scan(stage.step, self.config.training.ema)
    best_score = meta.get("best_score", float("-inf"))
    skips, totals = meta.get("skips", 0), meta.get("totals", {})
    for epoch in range(position.epoch, stage.epochs):
      begun = time.monotonic()
      chunks = self.blocks(stage, stream(key, "order"), epoch)
      size = len(jax.tree.leaves(chunks[0])[0])
      first_chunk = position.block // size if epoch == position.epoch else 0
      if not first_chunk:
        totals = {}
      for chunk in range(first_chunk, len(chunks)):
        number = (epoch * len(chunks) + chunk) * size
        progress, metrics = scan(
          progress, samples, chunks[chunk], number, stream(key, "step"), aux
        )
        metrics = jax.device_get(metrics)
        totals = add_metrics(totals, metrics)
        skips = checked_skips(
          metrics["skipped"],
          skips,
          self.config.training.max_skipped,
          int(progress.state.step),
        )
        end = chunk + 1 == len(chunks)
        if not end and self.due():
          here = Position(index, epoch, (chunk + 1) * size)
          meta = _meta(best_score, skips) | {
            "totals": totals,
            "chunk": self.config.training.scan_blocks,
          }
          self.save(here, progress, best, meta)
          self.leave_if_asked()
      line = epoch_line(stage, index, epoch, progress.state.step, totals)
      line |= measure(stage.apply, progress, self.rule, self.valid)
      line["seconds"] = time.monotonic() - begun
      self.record(line)
      now = score(self.rule, line) if stage.keep else float("-inf")
      if now > best_score:
        best_score = now
        best = jax.tree.map(jnp.copy, candidate(progress, self.rule))
      if self.due() and epoch + 1 < stage.epochs:
        here = Position(index, epoch + 1)
        self.save(here, progress, best, _meta(best_score, skips))
        self.leave_if_asked()
    return chosen(stage, progress, self.rule, best, best_score)

  def due(self) -> bool:
    waited = time.monotonic() - self.saved_at
    return self.stop() or waited > self.config.training.checkpoint_seconds

  def leave_if_asked(self) -> None:
    if self.stop():
      raise Stopped("stopped on request")

  # -- all stages

  def run(self, begin: tuple[int, State] | None) -> State:
    if begin is None:
      init_key = stream(self.key, "init")
      state = self.method.init(init_key, self.study)
      position, progress, best, meta = self.restore(state)
    else:
      position, progress = Position(begin[0]), start_stage(begin[1])
      best, meta = progress.state.target, {}
    for index in range(position.stage, len(self.method.stages)):
      stage = self.method.stages[index]
      if (index, 0, 0) >= position:
        key = stream(self.key, stage.name)
        state = stage.enter(stream(key, "enter"), progress.state, self.study)
        progress = start_stage(state)
        best, meta = jax.tree.map(jnp.copy, progress.state.target), {}
      if stage.epochs:
        state = self.run_stage(index, progress, best, position, meta)
        progress = start_stage(state)
      position = Position(index + 1)
      self.save(position, progress, progress.state.target, {})
      if index + 1 < len(self.method.stages):
        self.leave_if_asked()
    return progress.state


def _meta(best_score: float, skips: int) -> dict[str, float]:
  # JSON has no infinity; a missing score means none yet.
  meta = {"skips": skips}
  return meta | ({"best_score": best_score} if np.isfinite(best_score) else {})


def fit(
  method: Method,
  study: Study,
  key: jax.Array,
  config: Config,
  workdir: str | Path | None = None,
  *,
  on_record: Callable[[dict[str, Any]], None] | None = None,
  should_stop: Callable[[], bool] = lambda: False,
  begin: tuple[int, State] | None = None,
) -> tuple[State, History]:
  """Trains a method on a study.

  Args:
    method: a Method.
    study: its truth and test part are taken out before the method sees it.
    key: one seed; the same seed gives all methods the same batches and initial
      weights in stages of the same name.
    config: settings; `config.training` is the trainer's own part.
    workdir: folder of checkpoints and metrics.jsonl; a run found there goes on.
      None keeps everything in memory.
    on_record: called with each epoch's record.
    should_stop: asked after every scan; True saves a checkpoint and raises
      Stopped.
    begin: (k, state) to begin after the first k stages with their state, made
      elsewhere (methods that share a teacher); without a workdir only.

  Returns:
    (state, history): the final state, its target being the checkpoint rule's
    choice, and one record per epoch.

  Raises:
    Stopped: after should_stop.
    Diverged: config.training.max_skipped steps in a row were not finite.
    ValueError: the folder holds a run of another seed, method or data set, or
      one stopped inside an epoch with other `training.scan_blocks`.
  """
  if begin is not None and workdir is not None:
    raise ValueError("a fit that begins after some stages has no workdir")
  warn_of_shift(study)
  if method.fit is not None:
    return fit_in_memory(method, study.for_learners(), key, workdir, on_record)
  running = _Fit(method, study, key, config, workdir, on_record, should_stop)
  try:
    return running.run(begin), running.history
  finally:
    if running.checkpoints is not None:
      running.checkpoints.close()
