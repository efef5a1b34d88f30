import hypothesis
import numpy as np
import pytest
import reference
from hypothesis import strategies as st

from bidfcl_jax.evaluation import oracle_eom, oracle_policy, regret
from bidfcl_jax.types import Outcomes


def world(seed, n=40, arms=4):
  rng = np.random.default_rng(seed)
  cost = np.sort(rng.exponential(1.0, (n, arms)), 1)
  cost -= cost[:, :1]
  return Outcomes(rng.exponential(2.0, (n, arms)), cost), rng


@pytest.mark.parametrize("budget", [0.0, 0.3, 0.6, 50.0])
def test_oracle_policy_is_the_linear_programme(budget):
  truth, _ = world(0)
  best = oracle_policy(truth, budget)
  expected = reference.lp_optimum(truth.revenue, truth.cost, budget * 40) / 40
  np.testing.assert_allclose(best.revenue, expected, rtol=1e-8)
  assert best.cost <= budget + 1e-12
  assert best.not_binding == (budget == 50.0)
  same = oracle_eom(truth, truth, budget)
  np.testing.assert_allclose(same[:2], best[:2], rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(regret(truth, truth, budget), 0, atol=1e-9)


def predicted(kind, truth, rng):
  shape = truth.cost.shape
  noise = rng.lognormal(0, rng.uniform(0, 3), (2, *shape))
  r, c = truth.revenue * noise[0], truth.cost * noise[1]
  return {
    "noisy": Outcomes(r, c),
    "useless costs": Outcomes(r, np.zeros(shape)),
    "constant costs": Outcomes(r, np.ones(shape)),
    "huge costs": Outcomes(r, c * 1e15),
    "one huge cost": Outcomes(r, np.where(c == c.max(), 1e15, c)),
    "tiny costs": Outcomes(r, c * 1e-15),
    "negative costs": Outcomes(r, -c),
    "reversed": Outcomes(r, c[:, ::-1]),
    "constant": Outcomes(np.ones(shape), np.ones(shape)),
    "few values": Outcomes(np.round(r), np.round(c)),
    "noise": Outcomes(rng.normal(size=shape), rng.normal(size=shape)),
    "cheater": Outcomes(truth.revenue, -truth.revenue),
  }[kind]


KINDS = (
  "noisy",
  "useless costs",
  "constant costs",
  "huge costs",
  "one huge cost",
  "tiny costs",
  "negative costs",
  "reversed",
  "constant",
  "few values",
  "noise",
  "cheater",
)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(
  st.sampled_from(KINDS),
  st.integers(0, 2**31),
  st.floats(0, 3),
  st.booleans(),
)
def test_nothing_beats_the_oracle(kind, seed, budget, exact):
  truth, rng = world(seed)
  best = oracle_policy(truth, budget)
  got = oracle_eom(predicted(kind, truth, rng), truth, budget, exact=exact)
  assert got.revenue <= best.revenue * (1 + 1e-9)
  assert got.cost <= budget
  assert not got.infeasible


def test_true_spend_is_exactly_the_budget():
  truth, rng = world(2, n=200)
  for kind in ("noisy", "useless costs", "few values", "huge costs"):
    got = oracle_eom(predicted(kind, truth, rng), truth, 0.3)
    np.testing.assert_allclose(got.cost, 0.3, rtol=1e-12, err_msg=kind)
    assert regret(predicted(kind, truth, rng), truth, 0.3) > 0


def test_useless_costs_are_mixed_with_control():
  truth = Outcomes(np.tile([1.0, 5.0], (10, 1)), np.tile([0.0, 2.0], (10, 1)))
  useless = Outcomes(truth.revenue, np.zeros((10, 2)))
  got = oracle_eom(useless, truth, 0.5)
  assert got.mixed_with_control
  np.testing.assert_allclose(got[:2], (2.0, 0.5))
  np.testing.assert_allclose(got.mix, 0.25)


def test_infeasible_budget():
  truth = Outcomes(np.ones((5, 2)), np.tile([1.0, 2.0], (5, 1)))
  for result in (oracle_policy(truth, 0.5), oracle_eom(truth, truth, 0.5)):
    assert result.infeasible and np.isnan(result.revenue)
    assert result.cost == 1.0


def test_misuse_is_refused():
  truth, _ = world(0)
  with pytest.raises(ValueError, match="true cost of row 3, arm 1 is -1"):
    cost = truth.cost.copy()
    cost[3, 1] = -1
    oracle_eom(truth, Outcomes(truth.revenue, cost), 1.0)
  fewer = Outcomes(truth.revenue[:, :2], truth.cost[:, :2])
  with pytest.raises(ValueError, match=r"\(40, 2\), the truth \(40, 4\)"):
    oracle_eom(fewer, truth, 1.0)
  with pytest.raises(ValueError, match="revenue of row 0, arm 0 is nan"):
    oracle_eom(Outcomes(truth.revenue * np.nan, truth.cost), truth, 1.0)
