r"""How biased the logs of a hybrid are, and what true propensities undo.

  python -m experiments.hybrid_bias --data=hillstrom \
    --data_path=hillstrom.csv.gz --revenue_column=visit

  python -m experiments.hybrid_bias --data=social_pressure \
    --data_path=social_pressure.csv.gz --arm_costs=0,1,2,3,5 --draws=12

OBS is drawn out of a part of a trial, the pool (bidfcl_jax/data/hybrid.py).
For each strength k of the logging policy this prints the share of the pool
that is kept and, for each arm against the control, the effect on revenue: in
the whole trial, naively in OBS, and in OBS weighted by the true logging
propensities. Differences are taken from the pool of the same draw, so their
standard errors are those of drawing splits and logs; the weighted one is 0
within them where the hybrid is made right.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import flags

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.types import Samples, Study
from experiments import common, guard

DRAWS = flags.DEFINE_integer(
  "draws", 50, "Draws of the split and of OBS.", lower_bound=2
)
STRENGTH = flags.DEFINE_list(
  "strength",
  None,
  "Strengths k of the logging policy, separated by commas; default: "
  "--config.hybrid.strength.",
)


class Draw(NamedTuple):
  """One split and one log; names and effects `[M - 1]` are of arms 1.. ."""

  names: tuple[str, ...]
  kept: float
  trial: np.ndarray
  pool: np.ndarray
  naive: np.ndarray
  weighted: np.ndarray


def effects(part: Samples, arms: int, weight=None) -> np.ndarray:
  """Returns `[M - 1]` weighted mean revenues of arms 1.. less the control's."""
  weight = np.ones(len(part)) if weight is None else weight
  revenue = np.asarray(part.revenue, np.float64)
  total = np.bincount(part.arm, weight * revenue, minlength=arms)
  mean = total / np.bincount(part.arm, weight, minlength=arms)
  return mean[1:] - mean[0]


def draw(load: Callable[[HybridConfig], Study], hybrid: HybridConfig) -> Draw:
  """Measures one draw.

  Args:
    load: makes the Study of this draw under given settings.
    hybrid: the settings to judge.
  """
  # The logs of a policy that is the trial's own shares are the whole pool.
  flat = load(dataclasses.replace(hybrid, strength=0.0, floor=0.0))
  study = load(hybrid)
  obs, arms = study.obs, study.arms
  own = study.truth.logging[np.arange(len(obs)), obs.arm]
  parts = (flat.obs, flat.rct_train, flat.rct_valid, flat.rct_test)
  arm, revenue = (
    np.concatenate([getattr(part, name) for part in parts])
    for name in ("arm", "revenue")
  )
  trial = Samples(None, arm, revenue, None)
  return Draw(
    names=study.arm_names[1:],
    kept=len(obs) / len(flat.obs),
    trial=effects(trial, arms),
    pool=effects(flat.obs, arms),
    naive=effects(obs, arms),
    weighted=effects(obs, arms, 1 / own),
  )


def report(strength: float, draws: list[Draw]) -> str:
  """Returns lines of a table: an arm each, means over draws (standard error).

  Args:
    strength: k.
    draws: at least two.
  """
  names, kept, trial, pool, naive, weighted = (
    np.array(values) for values in zip(*draws, strict=True)
  )
  lines = []
  for j, name in enumerate(names[0]):
    line = f"{strength:<9g}{kept.mean():<8.1%}{name:<15}{trial[0, j]:+.5f}"
    for estimate in (naive, weighted):
      error = estimate[:, j] - pool[:, j]
      se = error.std(ddof=1) / np.sqrt(len(error))
      line += f"  {estimate[:, j].mean():+.4f}  {error.mean():+.4f} ({se:.4f})"
    lines.append(line)
  return "\n".join(lines)


def _strengths(hybrid: HybridConfig) -> list[float]:
  if STRENGTH.value is None:
    return [hybrid.strength]
  if "hybrid.strength" in common.given_overrides():
    raise ValueError("give --strength or --config.hybrid.strength, not both")
  try:
    return [float(cell) for cell in STRENGTH.value]
  except ValueError:
    raise ValueError(
      f"--strength={','.join(STRENGTH.value)}: give numbers, such as 0.5,1"
    ) from None


def main() -> None:
  """Runs the command."""
  if common.DATA.value not in ("hillstrom", "social_pressure"):
    raise ValueError(
      f"--data={common.DATA.value} is no trial that a hybrid is made of; give "
      "--data=hillstrom or --data=social_pressure"
    )
  config = common.resolved_config()
  print(
    f"{'strength':<9}{'kept':<8}{'arm':<15}{'trial':<10}{'naive':<9}"
    f"{'- pool (se)':<19}{'weighted':<9}- pool (se)"
  )
  for strength in _strengths(config.hybrid):
    hybrid = dataclasses.replace(config.hybrid, strength=strength)
    draws = []
    for seed in range(DRAWS.value):

      def load(settings, seed=seed):
        return common.load_study(
          dataclasses.replace(config, hybrid=settings), seed
        )

      draws.append(draw(load, hybrid))
    print(report(strength, draws), flush=True)


if __name__ == "__main__":
  guard.run(main)
