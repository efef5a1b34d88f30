"""What a finished fit keeps so that it can serve new individuals.

A folder of two files. served.npz: plain host arrays (no pickle, reading runs
no code): the state less its optimiser, the scalers, and the validation rows
with their predictions, from which the RCT-estimated spend of any price comes.
served.json, written last, the mark that both are whole: names, coding, the
curve price -> spend, versions. The state's structure is not stored: the
method's own `init` gives it back, and every leaf must have kept its place.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bidfcl_jax.data.encoding import Column, FeatureCoding
from bidfcl_jax.data.parsing import Table
from bidfcl_jax.data.scaling import standardise
from bidfcl_jax.evaluation import PriceCurve, price_curve
from bidfcl_jax.files import write_atomic, write_json
from bidfcl_jax.methods import Method, State, predict_rows
from bidfcl_jax.types import Outcomes, Samples, Scalers, Study

ARRAYS, RECORD = "served.npz", "served.json"
_FORMAT = 1
_LOGGED = ("arm", "revenue", "cost", "weight", "group")


class Served(NamedTuple):
  """A trained model as it serves.

  Attributes:
    method: the Method.
    state: its State of NumPy leaves, without optimiser.
    scalers: of the training rows.
    coding: FeatureCoding of the table's feature columns.
    arm_names: M names, control first.
    known_cost: `[M]` or None.
    budget: the run's budget per capita, original units.
    predicted: Outcomes `[v, M]` of the validation rows.
    logged: Samples `[v]` of the same rows, features None.
    curve: PriceCurve of these rows.
    record: all of served.json.
  """

  method: Method
  state: State
  scalers: Scalers
  coding: FeatureCoding
  arm_names: tuple[str, ...]
  known_cost: np.ndarray | None
  budget: float
  predicted: Outcomes
  logged: Samples
  curve: PriceCurve
  record: dict[str, Any]

  def outcomes(self, features: np.ndarray) -> Outcomes:
    """Predicts on standardised features `[n, d]`: `[n, M]`, original units."""
    return predict_rows(self.method, self.state, features)

  def predict(self, table: Table) -> Outcomes:
    """Predicts for rows of a table, `[n, M]`, original units.

    Raises:
      ValueError: a cell that cannot be coded, with its line and column.
    """
    return self.outcomes(standardise(self.scalers, self.coding.apply(table)))


def study_coding(study: Study) -> FeatureCoding:
  """Returns how the study's features came out of columns.

  A study without a coding of its own has one column of numbers a feature.
  """
  if study.coding is not None:
    return study.coding
  return FeatureCoding(tuple(Column(name) for name in study.feature_names))


def save_served(
  folder: str | Path,
  method: Method,
  state: Any,
  study: Study,
  *,
  budget: float,
  extra: Mapping[str, Any],
) -> Path:
  """Writes what `load_served` reads, each file whole or not at all.

  A method whose model is no State of arrays (a forest lives in memory) leaves
  a record that says so, and `load_served` refuses it with that reason.

  Args:
    folder: made if need be.
    method: the Method.
    state: its final state.
    study: what it was trained on.
    budget: of the run, per capita, original units.
    extra: plain values for the record: versions, seed, hash of the study.

  Returns:
    The path of the record.
  """
  folder = Path(folder)
  record = {"format": _FORMAT, "method": method.name, **extra}
  if not isinstance(state, State):
    reason = (
      f"{method.name} keeps its model in memory and stores none: its results "
      "and test predictions stand in the run, new rows need another method"
    )
    return write_json(folder / RECORD, record | {"refused": reason})
  predicted = predict_rows(method, state, study.rct_valid.features)
  every_arm = len(np.unique(study.rct_valid.arm)) == study.arms
  curve = price_curve(
    predicted, study.rct_valid, None if every_arm else study.propensity
  )
  paths, leaves = _leaves(state)
  arrays = {f"state/{i:05d}": leaf for i, leaf in enumerate(leaves)}
  arrays |= {f"scalers/{k}": v for k, v in vars(study.scalers).items()}
  arrays |= {f"predicted/{k}": v for k, v in vars(predicted).items()}
  arrays |= {f"valid/{k}": getattr(study.rct_valid, k) for k in _LOGGED}
  arrays |= {f"curve/{k}": v for k, v in curve._asdict().items()}
  arrays["propensity"] = study.propensity
  if study.known_cost is not None:
    arrays["known_cost"] = study.known_cost
  content = io.BytesIO()
  np.savez(content, **{k: np.asarray(v) for k, v in arrays.items()})
  write_atomic(folder / ARRAYS, content.getvalue())
  return write_json(
    folder / RECORD,
    record
    | {
      "arms": study.arm_names,
      "features": study.feature_names,
      "coding": study_coding(study).to_json(),
      "budget": budget,
      "price_curve": curve._asdict(),
      "state": paths,
      "sha256": hashlib.sha256(content.getvalue()).hexdigest(),
    },
  )


def load_served(folder: str | Path, method: Method) -> Served:
  """Reads a stored model; runs no stored code.

  Args:
    folder: as given to `save_served`.
    method: made by the run's own settings.

  Returns:
    Served.

  Raises:
    ValueError: nothing stored, a model that stores none, a damaged file, or a
      state that this version's method no longer has.
  """
  path = Path(folder) / RECORD
  if not path.exists():
    raise ValueError(
      f"no stored model in {folder}: the fit is unfinished or of a version "
      "that stored none; give the training command again"
    )
  record = json.loads(path.read_text(encoding="utf-8"))
  if "refused" in record:
    raise ValueError(f"{folder}: {record['refused']}")
  if record["format"] != _FORMAT or record["method"] != method.name:
    raise ValueError(
      f"{path} is a model of {record['method']}, format {record['format']}; "
      f"this version reads format {_FORMAT} and was asked for {method.name}"
    )
  content = (Path(folder) / ARRAYS).read_bytes()
  if hashlib.sha256(content).hexdigest() != record["sha256"]:
    raise ValueError(
      f"{Path(folder) / ARRAYS} is not the file that {RECORD} was written "
      "for (damaged or exchanged); train again"
    )
  with np.load(io.BytesIO(content), allow_pickle=False) as stored:
    arrays = dict(stored)

  def part(name):
    cut = len(name) + 1
    return {k[cut:]: v for k, v in arrays.items() if k.startswith(f"{name}/")}

  scalers = Scalers(**part("scalers"))
  known = arrays.get("known_cost")
  arms = tuple(record["arms"])
  like = method.init(
    jax.random.key(0), _hollow(record, scalers, arrays["propensity"], known)
  )
  paths, _ = _leaves(like)
  if paths != record["state"]:
    raise ValueError(
      f"{folder}: the stored state of {method.name} has other parts than this "
      "version's; serve it with the version in served.json, or train again"
    )
  structure = jax.tree.structure(like.replace(optimiser=None))
  leaves = [arrays[f"state/{i:05d}"] for i in range(len(paths))]
  return Served(
    method=method,
    state=jax.tree.unflatten(structure, leaves),
    scalers=scalers,
    coding=FeatureCoding.from_json(record["coding"]),
    arm_names=arms,
    known_cost=known,
    budget=record["budget"],
    predicted=Outcomes(**part("predicted")),
    logged=Samples(features=None, **part("valid")),
    curve=PriceCurve(**part("curve")),
    record=record,
  )


def _leaves(state: State) -> tuple[list[str], list[Any]]:
  """Returns the places and the leaves that serve: all but the optimiser."""
  found = jax.tree_util.tree_leaves_with_path(state.replace(optimiser=None))
  paths = [jax.tree_util.keystr(path) for path, _ in found]
  return paths, jax.device_get([leaf for _, leaf in found])


def _hollow(record, scalers, propensity, known) -> Study:
  """Returns a study of one empty row an arm: all that an `init` looks at."""
  arms, features = record["arms"], record["features"]
  zeros = np.zeros(len(arms), np.float32)
  rows = Samples(
    features=np.zeros((len(arms), len(features)), np.float32),
    arm=np.arange(len(arms), dtype=np.int32),
    revenue=zeros,
    cost=zeros,
  )
  return Study(
    obs=rows,
    rct_train=rows,
    rct_valid=rows,
    rct_test=None,
    propensity=propensity,
    scalers=scalers,
    budget=np.float64(record["budget"]),
    known_cost=known,
    arm_names=tuple(arms),
    feature_names=tuple(features),
  )
