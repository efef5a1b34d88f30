import pytest

from bidfcl_jax.data.declared import declared_arms, known_cost


def test_fc_01_arms_keep_their_declared_order():
  assert declared_arms(["none", 20, " 10 "]) == ("none", "20", "10")


@pytest.mark.parametrize(
  ("arms", "message"),
  [
    (["none"], "at least one other arm"),
    (["0", "1", "1.0"], "label '1.0' is empty or stands twice"),
    (["a", "b", "a"], "label 'a'"),
    (["a", " "], "label ''"),
  ],
)
def test_arms_that_cells_cannot_tell_apart_are_refused(arms, message):
  with pytest.raises(ValueError, match=message):
    declared_arms(arms)


def test_known_cost_is_one_finite_cost_for_each_arm():
  arms = ("none", "mail")
  assert known_cost((0, 2), arms).tolist() == [0, 2]
  assert known_cost((0, -2), arms, allow_negative=True).tolist() == [0, -2]
  for costs, message in (
    ((0, 1, 2), "one for each of the 2 arms none, mail"),
    ((0, -1), "cost of arm 'mail' is -1"),
    ((float("nan"), 1), "cost of arm 'none' is nan"),
  ):
    with pytest.raises(ValueError, match=message):
      known_cost(costs, arms)
