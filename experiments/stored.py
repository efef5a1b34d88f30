"""Finished fits of a work directory, and the settings that they ran with."""

from pathlib import Path
from typing import Any

from absl import logging

from bidfcl_jax import config as config_lib
from bidfcl_jax import methods, report, training
from bidfcl_jax.report.results import Result
from bidfcl_jax.training import Served
from experiments import runner

Fit = tuple[str, int]


def settings_of(
  workdir: str | Path, method: str | None = None
) -> config_lib.Config:
  """Rebuilds the settings of a run from its config.json.

  Args:
    workdir: of the run.
    method: whose settings, in a run of tuned methods; None: those that all
      share (the world, the budget).

  Raises:
    ValueError: no run stands there, or an option that this version lacks.
  """
  stored = report.read_config(workdir)["config"]
  values: dict[str, Any] = {}

  def flatten(node, prefix=""):
    for name, value in node.items():
      if isinstance(value, dict):
        flatten(value, f"{prefix}{name}.")
      else:
        values[prefix + name] = value

  tuned = stored.get("tuned", {}).get(method, {})
  # What train adds beside the settings proper.
  beside = ("data", "methods", "seeds", "tuned", "note")
  flatten({k: v for k, v in stored.items() if k not in beside})
  preset, recipe = values.pop("preset"), values.pop("recipe")
  return config_lib.make(preset, recipe, values | tuned)


def fits(workdir: str | Path) -> list[Fit]:
  """Returns the (method, seed) pairs that stand in a run, in their order."""
  report.read_config(workdir)
  known = set(methods.names())
  return [
    (result.method, result.seed)
    for result in report.collect(workdir)
    if isinstance(result, Result) and result.method in known
  ]


def choose(
  workdir: str | Path, method: str | None, seed: int | None
) -> tuple[str, int]:
  """Picks one fit of a run.

  Args:
    workdir: of the run.
    method: None where the run has one only.
    seed: None where the method has one only.

  Raises:
    ValueError: no such fit, or several and none named; with the list.
  """
  found = fits(workdir)
  if not found:
    raise ValueError(f"{workdir} holds no finished fit; go on training it")
  names = list(dict.fromkeys(name for name, _ in found))
  if method is None and len(names) > 1:
    raise ValueError(
      f"{workdir} holds several methods: give --method, one of "
      f"{', '.join(names)}"
    )
  method = names[0] if method is None else method
  seeds = [of for name, of in found if name == method]
  if not seeds:
    raise ValueError(
      f"{workdir} holds no {method!r}; it holds {', '.join(names)}"
    )
  listed = ", ".join(map(str, seeds))
  if seed is None and len(seeds) > 1:
    raise ValueError(
      f"{workdir} holds several seeds of {method}: give --seed, one of {listed}"
    )
  seed = seeds[0] if seed is None else seed
  if seed not in seeds:
    raise ValueError(f"{workdir} holds {method} of seeds {listed}, not {seed}")
  return method, seed


def open_fit(workdir: str | Path, method: str, seed: int) -> Served:
  """Reads a fit's stored model; warns where another version trained it.

  Raises:
    ValueError: see `training.load_served`.
  """
  made = methods.make(method, settings_of(workdir, method))
  folder = runner.fit_folder(Path(workdir), method, seed)
  served = training.load_served(folder / runner.SERVED, made)
  then = served.record.get("versions", {}).get("bidfcl_jax")
  now = report.versions().get("bidfcl_jax")
  if then != now:
    logging.warning(
      "%s was trained by version %s, this is %s", folder, then, now
    )
  return served
