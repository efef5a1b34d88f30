r"""True spend of two deployment prices on simulated worlds.

  python -m experiments.deployment --method=FT --seeds=5

A price that meets the budget on predicted costs may overspend in truth; the
price from the experiment's spend (validation rows) has noise instead. Each
world trains the method, prices its test individuals both ways, and prints true
spend over budget.
"""

import jax
import numpy as np
from absl import flags

from bidfcl_jax import allocation, evaluation, methods, report, training
from bidfcl_jax.allocation.host import mean_at
from bidfcl_jax.keys import stream
from bidfcl_jax.types import Outcomes, Study
from experiments import common, guard

METHOD = flags.DEFINE_string("method", "FT", "The method.")
SEEDS = flags.DEFINE_integer("seeds", 5, "Number of worlds.", 1)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first world.", 0)
SHARES = flags.DEFINE_list(
  "shares", ["0.5", "1", "1.5"], "Budgets in units of the world's own."
)


def true_spends(
  predicted: Outcomes, checked: Outcomes, study: Study, budget: float, key
) -> dict[str, float]:
  """Returns true spend over budget by each way to the price.

  Args:
    predicted: on the test individuals `[n, M]`, original units.
    checked: on the validation rows `[v, M]`.
    study: with its truth.
    budget: per capita.
    key: of ties.
  """
  truth = np.asarray(study.truth.outcomes.cost, np.float64)

  def spend(arms):
    return mean_at(truth, arms) / budget

  plan = allocation.solve(predicted, budget)
  curve = evaluation.price_curve(checked, study.rct_valid)
  price = evaluation.price_of_budget(curve, budget)
  return {
    "model": spend(allocation.realise(plan, predicted, budget, key)),
    "rct": spend(np.asarray(allocation.choose(predicted, price))),
  }


def main() -> None:
  """Runs the command."""
  config = common.resolved_config()
  common.require_simulated("true spend is known")
  shares = [float(word) for word in SHARES.value]
  method = methods.make(METHOD.value, config)
  found: dict[tuple[float, str], list[float]] = {}
  for seed in range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value):
    study = common.load_study(config, seed)
    key = jax.random.key(seed)
    state, _ = training.fit(method, study, stream(key, "fit"), config)
    predicted, checked = (
      methods.predict_rows(method, state, rows.features)
      for rows in (study.rct_test, study.rct_valid)
    )
    own = methods.study_budget(config, study)
    for share in shares:
      spends = true_spends(
        predicted, checked, study, share * own, stream(key, "ties")
      )
      for way, value in spends.items():
        found.setdefault((share, way), []).append(value)
  cells, data = [], []
  for (share, way), values in found.items():
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    row = {
      "budget": share,
      "price_from": way,
      "mean": float(np.mean(values)),
      "sd": float(spread),
      "most": float(np.max(values)),
      "off": float(np.sqrt(np.mean((np.array(values) - 1) ** 2))),
    }
    data.append(row)
    cells.append(
      (f"{share:g}", way, *(f"{v:.3f}" for v in [*row.values()][2:]))
    )
  header = ("budget / own", "price from", "mean", "sd", "most", "rms off")
  caption = (
    f"True spend over budget, {METHOD.value}, {SEEDS.value} worlds "
    f"{config.simulator.kind}"
  )
  table = report.Table(caption, header, tuple(cells), tuple(data))
  print(report.to_text(table))


if __name__ == "__main__":
  guard.run(main)
