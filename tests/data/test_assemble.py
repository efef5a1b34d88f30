import numpy as np
import pytest

from bidfcl_jax.data.assemble import Rows, _default_budget, assemble
from bidfcl_jax.types import Outcomes, Truth

NAMES = {"arm_names": ("none", "10", "20"), "feature_names": ("age", "visits")}


def rows(n, seed=0, arms=(0, 1, 2), **changes):
  rng = np.random.default_rng(seed)
  made = Rows(
    features=rng.normal(5, 3, (n, 2)),
    arm=np.resize(arms, n),
    revenue=rng.exponential(10, n),
    cost=rng.exponential(2, n),
  )
  return made._replace(**changes)


def study(**changes):
  parts = {
    "obs": rows(60, 1),
    "rct_train": rows(30, 2),
    "rct_valid": rows(12, 3),
    "rct_test": rows(12, 4),
  }
  return assemble(**{**parts, **NAMES, **changes})


def test_scalers_come_from_obs_and_rct_train_and_apply_to_all_parts():
  made = study()
  obs, train, test = rows(60, 1), rows(30, 2), rows(12, 4)
  joined = np.concatenate([obs.features, train.features])
  mean, sd = joined.mean(0), joined.std(0)
  np.testing.assert_allclose(
    made.rct_test.features, (test.features - mean) / sd, rtol=1e-5, atol=1e-6
  )
  assert made.scalers.revenue == pytest.approx(train.revenue.std())
  assert made.scalers.cost == pytest.approx(train.cost.std())
  np.testing.assert_allclose(made.rct_test.revenue, test.revenue, rtol=1e-6)
  for part in (made.obs, made.rct_train, made.rct_valid, made.rct_test):
    assert isinstance(part.features, np.ndarray)


def test_default_budget_is_the_middle_arms_mean_or_known_cost():
  train = rows(30, 2)
  want = train.cost[train.arm == 1].mean()
  assert float(study().budget) == pytest.approx(want)
  assert float(study(known_cost=[0, 1.5, 3]).budget) == 1.5
  assert float(study(budget=0.7, known_cost=[0, 1.5, 3]).budget) == 0.7
  for budget in (-3.0, np.nan, np.inf):
    with pytest.raises(ValueError, match=f"budget {budget}: give a finite"):
      study(budget=budget)


def test_the_default_budget_of_a_single_offer_binds():
  costs = np.array([0.0, 2.0, 0.0])
  arm = np.array([0, 1, 1])
  assert _default_budget(costs, arm, None, ("none", "offer")) == 0.5
  assert _default_budget(costs, arm, [0, 3.0], ("none", "offer")) == 1.5


def test_fc_01_arm_codes_do_not_depend_on_what_a_part_holds():
  made = study(rct_test=rows(12, 4, arms=(0, 2)))
  assert made.arms == 3
  assert sorted(set(made.rct_test.arm)) == [0, 2]


def test_fc_01_missing_control_is_refused_with_names_seen():
  with pytest.raises(ValueError, match="control arm 'none'.* 10, 20"):
    study(rct_train=rows(30, 2, arms=(1, 2)))
  with pytest.raises(ValueError, match="control arm 'none'.* 10, 20"):
    study(rct_train=rows(30, 2, arms=(1, 2)), propensity=[0.2, 0.4, 0.4])


def test_fc_02_shares_are_counted_or_declared_and_checked():
  train = rows(30, 2, arms=(0, 0, 0, 1, 2))
  np.testing.assert_allclose(study(rct_train=train).propensity, [0.6, 0.2, 0.2])
  declared = study(rct_train=train, propensity=[0.5, 0.25, 0.25])
  np.testing.assert_array_equal(declared.propensity, [0.5, 0.25, 0.25])
  with pytest.raises(ValueError, match="no randomised row of arm 20"):
    study(rct_train=rows(30, 2, arms=(0, 1)), propensity=[0.5, 0.25, 0.25])
  with pytest.raises(ValueError, match="add up to"):
    study(propensity=[0.5, 0.25, 0.3])
  with pytest.raises(ValueError, match="one share per arm"):
    study(propensity=np.resize([0.0, 1, 2], 30))


def test_fc_05_column_outcomes_are_squeezed_and_lengths_must_agree():
  train = rows(30, 2)
  column = train._replace(
    revenue=train.revenue[:, None], cost=train.cost[:, None]
  )
  assert study(rct_train=column).rct_train.revenue.shape == (30,)
  assert study(rct_train=column).budget == study().budget
  short = train._replace(revenue=train.revenue[:29])
  with pytest.raises(ValueError, match="rct_train: features have 30.* 29"):
    study(rct_train=short)


def test_fc_05_one_row_parts_are_finite():
  made = study(obs=rows(1), rct_valid=rows(1), rct_test=rows(1))
  assert np.isfinite(made.obs.features).all()


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"rct_valid": rows(0)}, "rct_valid has no row"),
    ({"obs": rows(9, arms=(0, 3))}, "obs: arm code 3, .*none, 10, 20"),
    ({"rct_test": rows(9, features=np.ones((9, 3)))}, "rct_test: .*\\(9, 3\\)"),
    ({"obs": rows(2, features=np.array([[1, 2], [3, np.nan]]))},
     "obs: feature 'visits' .* row 1"),
    ({"obs": rows(2, revenue=np.array([1, np.inf]))}, "obs: revenue"),
    ({"obs": rows(2, cost=np.array([1, -0.5]))}, "obs: 1 row.* row 1 .-0.5"),
    ({"known_cost": [0, 1]}, "costs .* each of the 3 arms none, 10, 20"),
    ({"known_cost": [0, 1, -2]}, "cost of arm '20' is -2"),
    ({"arm_names": ("none", "10", "10")}, "arm names occur twice: 10"),
    ({"arm_names": ("none",)}, "at least two"),
    ({"truth": Truth(logging=np.ones((7, 3)))}, "truth.logging .*\\(60, 3\\)"),
    ({"truth": Truth(outcomes=Outcomes(np.ones((12, 3)), np.ones((12, 2))))},
     "outcomes.cost .*\\(12, 3\\)"),
  ],
)  # fmt: skip
def test_refusals_name_the_culprit(changes, message):
  with pytest.raises(ValueError, match=message):
    study(**changes)


def test_negative_costs_pass_when_allowed():
  train = rows(30, 2)
  train.cost[0] = -1
  assert study(rct_train=train, allow_negative_cost=True).rct_train.cost[0] < 0


def test_groups_too_large_for_int32_are_renumbered_across_parts():
  big = 2**40
  made = study(
    obs=rows(3, group=np.array([big, big + 1, big])),
    rct_valid=rows(2, group=np.array([big + 1, big + 5])),
  )
  assert list(made.obs.group) == [0, 1, 0]
  assert list(made.rct_valid.group) == [1, 2]
  kept = study(obs=rows(3, group=np.array([7, 9, 7])))
  assert list(kept.obs.group) == [7, 9, 7]
  named = study(obs=rows(3, group=np.array(["b", "a", "b"])))
  assert list(named.obs.group) == [1, 0, 1]


def test_take_selects_rows_of_every_column():
  part = rows(5, group=np.arange(5)).take(np.array([4, 1]))
  assert list(part.group) == [4, 1] and part.features.shape == (2, 2)
  assert rows(5).take(np.array([0])).group is None
