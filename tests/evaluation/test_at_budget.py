import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.evaluation.at_budget import (
  Side,
  checked,
  checked_budget,
  mixture,
  value_at_budget,
)
from bidfcl_jax.types import Outcomes


def test_mixture_by_hand():
  # A quarter of the way from 1 to 3.
  got = mixture(Side(10.0, 1.0, 1.0), Side(30.0, 3.0, 1.0), 1.5)
  np.testing.assert_allclose(got, (15.0, 1.5, 0.25), rtol=1e-6)


def test_mixture_of_ratios_pools_sums_and_masses():
  # Numerators (revenue, cost) 2 x (10, 1) and 0.5 x (30, 3).
  under, over = Side(10.0, 1.0, 2.0), Side(30.0, 3.0, 0.5)
  revenue, cost, mix = mixture(under, over, 1.5)
  mass = np.array([(1 - mix) * 2, mix * 0.5])
  np.testing.assert_allclose(cost, mass @ [1, 3] / mass.sum(), rtol=1e-6)
  np.testing.assert_allclose(cost, 1.5, rtol=1e-6)
  np.testing.assert_allclose(revenue, mass @ [10, 30] / mass.sum(), rtol=1e-6)
  np.testing.assert_allclose(mix, 1 / 1.75, rtol=1e-6)


@pytest.mark.parametrize("over_cost", [1.0, 0.5])
def test_mixture_without_a_jump_or_without_rows_is_finite(over_cost):
  same = mixture(Side(10.0, 1.0, 1.0), Side(20.0, over_cost, 1.0), 1.0)
  assert np.isfinite(same).all() and same[1] <= 1
  empty = mixture(Side(0.0, 0.0, 0.0), Side(0.0, 0.0, 0.0), 1.0)
  np.testing.assert_array_equal(empty, (0, 0, 0))
  # No row received the policy within the budget: the other side only.
  half = mixture(Side(0.0, 0.0, 0.0), Side(20.0, 2.0, 1.0), 1.0)
  assert np.isfinite(half).all()


def known(truth):
  def value(arms):
    take = lambda y: jnp.take_along_axis(y, arms[:, None], 1).mean()  # noqa: E731
    cost = take(truth.cost)
    return Side(take(truth.revenue), cost, jnp.ones_like(cost))

  return value


def test_over_spending_bracket_is_mixed_with_control_or_refused():
  ten = np.ones((10, 1), np.float32)
  useless = Outcomes(ten * np.float32([0, 1]), 0 * ten * np.float32([0, 1]))
  ends = (jnp.float32(7), jnp.float32(7))
  for control, expected in ((0.0, 2.5), (0.5, 1.0), (0.75, np.nan)):
    truth = Outcomes(
      jnp.asarray(ten * np.float32([1, 4])),
      jnp.asarray(ten * np.float32([control, 1])),
    )
    got = jax.jit(
      lambda budget, truth=truth: value_at_budget(
        useless, ends, known(truth), budget, exact=False
      )
    )(np.float32(0.5))
    np.testing.assert_allclose(got.revenue, expected, rtol=1e-6)
    assert got.infeasible == np.isnan(expected)
    assert got.mixed_with_control == (not got.infeasible)
    assert got.cost <= 0.5 or got.infeasible


def test_checks_name_the_culprit():
  good = Outcomes(np.ones((4, 3)), np.ones((4, 3), np.float32))
  assert checked("predicted", good, 4).cost.dtype == np.float64
  with pytest.raises(ValueError, match=r"true revenue has shape \(4, 3\)"):
    checked("true", good, 5)
  with pytest.raises(ValueError, match=r"revenue \(4, 3\) and cost \(4, 2\)"):
    checked("true", Outcomes(good.revenue, np.ones((4, 2))), 4)
  with pytest.raises(ValueError, match="at least 2 arms"):
    checked("true", Outcomes(np.ones((4, 1)), np.ones((4, 1))), 4)
  for budget in (np.inf, [1.0, 2.0]):
    with pytest.raises(ValueError, match="one finite amount per capita"):
      checked_budget(budget)
