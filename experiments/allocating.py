"""Arms for the individuals of a file that may be larger than memory.

Two passes. The first reads the file, predicts, draws who explores and keeps
the predictions in a temporary file; then the price is chosen; the second
decides and writes. Decisions depend on the file and the key, never on where
the pieces are cut.
"""

import math
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
import polars as pl

from bidfcl_jax import evaluation
from bidfcl_jax.allocation import BlockPlan, solve_blocks
from bidfcl_jax.allocation.host import at
from bidfcl_jax.keys import host_generator, stream
from bidfcl_jax.training import Served
from experiments import individuals
from experiments.allocation_output import writer
from experiments.individuals import Request


class Done(NamedTuple):
  """What was done; money in original units.

  Attributes:
    count: individuals.
    arms: `[M]` how many got each arm.
    explored: individuals with a uniform arm.
    price: of one unit of cost.
    budget: per capita.
    cost: predicted spend per capita, all rows.
    revenue: predicted revenue per capita, all rows.
    bound: upper bound on the predicted revenue of any allocation of the same
      budget, explorers given; per capita.
    floored: predicted costs below 0 that counted as 0.
    held: share that get the control in place of their arm at the price.
  """

  count: int
  arms: np.ndarray
  explored: int
  price: float
  budget: float
  cost: float
  revenue: float
  bound: float
  floored: int
  held: float


def allocate(served: Served, request: Request, key: jax.Array) -> Done:
  """Reads individuals, writes their arms.

  The output has a row for each individual in the file's order: the id column
  or `row` (1, 2, ...), `arm`, `expected_revenue`, `expected_cost` and
  `propensity`, the probability with which the individual got its arm.

  Args:
    served: the model.
    request: what is asked for.
    key: of exploration, of ties at the price and of who is left alone.

  Returns:
    Done.

  Raises:
    ValueError: a column or a cell that does not fit the model, an individual
      without an eligible arm, or a budget that no price meets.
  """
  individuals.check(served, request)
  kind = np.dtype(
    [
      ("revenue", np.float32, len(served.arm_names)),
      ("cost", np.float32, len(served.arm_names)),
      ("given", np.int16),
      ("choices", np.int16),
      ("control", np.bool_),
    ]
  )
  folder = request.output.parent
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryFile(dir=folder) as store:
    count, floored, explored_cost = 0, 0, []
    explorers, sizes = 0, []
    draws = individuals.Draws(key, request.explore)
    for table in individuals.tables(served, request):
      cells, negative = individuals.predicted(
        served, request, table, draws, kind
      )
      store.write(memoryview(cells).cast("B"))
      count, floored = count + len(cells), floored + negative
      sizes.append(len(cells))
      who = cells["given"] >= 0
      explorers += int(who.sum())
      explored_cost.append(at(cells["cost"][who], cells["given"][who]).sum())
    budget = request.budget
    if budget is None:
      budget = request.total_budget / count
    left = budget * count - math.fsum(explored_cost)

    def stored() -> Iterator[tuple[np.ndarray, np.ndarray]]:
      store.seek(0)
      start = 0
      for size in sizes:
        block = np.frombuffer(store.read(size * kind.itemsize), kind)
        yield np.arange(start, start + size), block
        start += size

    def free():
      for rows, block in stored():
        kept = block["given"] < 0
        yield rows[kept], block["revenue"][kept], block["cost"][kept]

    plan, held = _plan(
      served, request, budget, left, count - explorers, free, key
    )
    totals = _write(served, request, plan, held, stored, key)
  taken, cost, revenue, best = totals
  bound = plan.price * left + best[0]
  return Done(
    count, taken, explorers, plan.price, budget, cost / count, revenue / count,
    (bound + best[1]) / count, floored, held,
  )  # fmt: skip


def _plan(
  served, request, budget, left, count, free, key
) -> tuple[BlockPlan, float]:
  """Returns the plan at its price, and the share that get the control."""
  if request.price_from == "rct":
    share = request.explore
    spend = arm_spend(served)
    uniform, control = float(spend.mean()), float(spend[0])
    rest = (budget - share * uniform) / (1 - share)
    if share and rest < min(control, served.curve.spend[-1]):
      raise ValueError(
        f"budget {budget:g} per capita does not pay for exploring {share:g} of "
        f"the individuals at {uniform:g} each; raise it or lower --explore"
      )
    price, held = evaluation.priced_mixture(served.curve, control, rest)
    return BlockPlan(price, np.empty(0, np.int64), 0.0), held
  if left < 0:
    raise ValueError(
      f"exploration alone costs more than the budget {budget:g} per capita; "
      "lower --explore or raise the budget"
    )
  if count == 0:
    return BlockPlan(0.0, np.empty(0, np.int64), 0.0), 0.0
  return solve_blocks(free, count, left, stream(key, "ties")), 0.0


def arm_spend(served: Served) -> np.ndarray:
  """Returns the RCT-estimated spend per capita of giving all one arm, `[M]`."""
  means = evaluation.arm_means(served.logged, arms=len(served.arm_names))
  return np.asarray(means.cost, np.float64)[0]


def _write(served, request, plan, held, stored, key):
  """Decides and writes; returns the totals that `Done` needs."""
  names = np.array(served.arm_names)
  taken = np.zeros(len(names), np.int64)
  sums: list[tuple[float, ...]] = []
  share = request.explore
  lots = host_generator(stream(key, "control"))
  with writer(request.output) as write:
    ids = individuals.ids_of(request)
    for rows, block in stored():
      revenue, cost = block["revenue"], block["cost"]
      explored = block["given"] >= 0
      chosen, under, over = plan.arms(rows, revenue, cost)
      back = (lots.random(len(rows)) < held) & block["control"]
      arms = np.where(explored, block["given"], np.where(back, 0, chosen))
      greedy = np.where(under == over, arms == under, 0.0)
      jump = under != over
      greedy = np.where(jump & (arms == under), 1 - plan.tie, greedy)
      greedy = np.where(jump & (arms == over), plan.tie, greedy)
      left_alone = held * block["control"]
      greedy = (1 - left_alone) * greedy + left_alone * (arms == 0)
      propensity = (1 - share) * greedy + share / block["choices"]
      paid, gained = at(cost, arms), at(revenue, arms)
      taken += np.bincount(arms, minlength=len(names))
      free = ~explored
      best = at(revenue, under) - plan.price * at(cost, under)
      sums.append(
        (
          paid.sum(),
          gained.sum(),
          best[free].sum(),
          gained[explored].sum(),
        )
      )
      write(
        pl.DataFrame(
          {
            **next(ids, {"row": rows + 1}),
            "arm": names[arms],
            "expected_revenue": gained,
            "expected_cost": paid,
            "propensity": propensity,
          }
        )
      )
  cost, revenue, *best = (math.fsum(part) for part in zip(*sums, strict=True))
  return taken, cost, revenue, best
