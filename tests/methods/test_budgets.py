"""Budgets of a decision loss: multiples of what a cheapest arm leaves."""

import jax
import numpy as np
import pytest

from bidfcl_jax import methods
from bidfcl_jax.methods.budgets import budgets_of, cheapest_spend

KEY = jax.random.key(2)


def with_cost(study, of_arm):
  """Returns the study whose RCT rows pay `of_arm` for their arm."""
  paid = np.asarray(of_arm, np.float32)[study.rct_train.arm]
  return study.replace(rct_train=study.rct_train.replace(cost=paid))


def test_a_free_arm_leaves_the_multiples_to_the_bit(tiny_study, tiny_config):
  config = tiny_config(budget=0.7, decision__budgets=(0.5, 1.0, 1.5))
  study = with_cost(tiny_study, [2, 0, 1, 3, 4])
  assert cheapest_spend(study) == 0
  np.testing.assert_array_equal(
    budgets_of(config, study), 0.7 * np.array([0.5, 1.0, 1.5])
  )


def test_no_multiple_is_below_what_every_policy_spends(tiny_study, tiny_config):
  config = tiny_config(budget=1.2, decision__budgets=(0.5, 1.0, 1.5))
  study = with_cost(tiny_study, [1, 2, 3, 4, 5])
  np.testing.assert_allclose(budgets_of(config, study), [1.1, 1.2, 1.3])
  known = study.replace(known_cost=np.array([0.2, 1, 2, 3, 4]))
  np.testing.assert_allclose(budgets_of(config, known), [0.7, 1.2, 1.7])


def test_an_arm_that_nobody_got_is_not_the_cheapest(tiny_study):
  rct = tiny_study.rct_train
  seen = jax.tree.map(lambda leaf: leaf[rct.arm != 0], rct)
  study = with_cost(tiny_study.replace(rct_train=seen), [0, 2, 3, 4, 5])
  assert cheapest_spend(study) == 2


@pytest.mark.parametrize("name", ["DFCL-PPL", "DIRECT", "FROZEN"])
def test_a_budget_that_no_policy_meets_is_refused(
  name, tiny_study, tiny_config
):
  study = with_cost(tiny_study, [1, 2, 3, 4, 5])
  method = methods.make(name, tiny_config(budget=0.9))
  with pytest.raises(ValueError, match="less than the cheapest arm costs"):
    method.init(KEY, study)
  methods.make("FT", tiny_config(budget=0.9)).init(KEY, study)


def test_a_policy_loss_on_rct_rows_reads_rct_outcomes(tiny_study, tiny_config):
  # plugin would let the OBS model judge the policy that begins from it.
  method = methods.make("FT-PPL", tiny_config(decision__outcomes="plugin"))
  state = method.init(KEY, tiny_study)
  for stage in method.stages[1:]:
    state = stage.enter(KEY, state, tiny_study)
  aux = method.stages[-1].fixed(state, tiny_study)
  assert aux.rct.labels is None
