import jax
import numpy as np

from bidfcl_jax import config, data
from bidfcl_jax.data.checks import (
  arm_counts,
  covariate_shift,
  pooled_rct,
  repeated_rows,
  shared_households,
)


def study():
  settings = config.make("smoke", overrides={"simulator.n_obs": 800})
  return data.simulate(jax.random.key(0), settings.simulator)


def test_equal_populations_are_quiet():
  assert covariate_shift(study()) == []


def test_the_shifted_feature_is_named_with_its_size():
  shifted = study()
  features = np.array(shifted.obs.features)
  features[:, 3] -= 0.5
  features[:, 1] += 1.0
  shifted = shifted.replace(obs=shifted.obs.replace(features=features))
  (first, gap), (second, other) = covariate_shift(shifted)
  names = shifted.feature_names
  assert (first, second) == (names[1], names[3])
  assert abs(gap - 1.0) < 0.2
  assert abs(other + 0.5) < 0.2


def swapped(part, rows, source):
  """Returns `part` with its first rows replaced by the first of `source`."""
  columns = {}
  for name in ("features", "arm", "revenue", "cost"):
    values = np.array(getattr(part, name))
    values[:rows] = np.asarray(getattr(source, name))[:rows]
    columns[name] = values
  return part.replace(**columns)


def test_planted_copies_of_test_rows_are_found(tiny_study):
  clean = repeated_rows(tiny_study)
  assert all(r.pairs == 0 and r.excess == 0 for r in clean)
  assert len(clean) == 6
  obs = swapped(tiny_study.obs, 3, tiny_study.rct_test)
  found = repeated_rows(tiny_study.replace(obs=obs))
  (hit,) = [r for r in found if r.pairs]
  assert (hit.part, hit.other) == ("rct_test", "obs")
  assert (hit.rows, hit.pairs, hit.excess) == (3, 3, 3.0)


def test_a_difference_in_one_cell_is_no_repeat(tiny_study):
  obs = swapped(tiny_study.obs, 3, tiny_study.rct_test)
  obs = obs.replace(arm=(obs.arm + 1) % tiny_study.arms)
  assert not any(r.pairs for r in repeated_rows(tiny_study.replace(obs=obs)))


def coarse(part, seed):
  """Rows with 20 possible feature vectors: twins by chance are many."""
  n = len(part)
  draw = np.random.default_rng(seed).integers(0, 20, n)
  x = np.zeros_like(part.features)
  x[:, 0] = draw
  zero = np.zeros_like(part.revenue)
  return part.replace(
    features=x, revenue=zero, cost=zero, arm=np.zeros(n, np.int32)
  )


def test_twins_by_chance_are_not_held_against_the_data(tiny_study):
  parts = {
    name: coarse(getattr(tiny_study, name), seed)
    for seed, name in enumerate(("obs", "rct_train", "rct_valid", "rct_test"))
  }
  for found in repeated_rows(tiny_study.replace(**parts)):
    assert found.pairs > 1000
    assert abs(found.pairs / found.expected - 1) < 0.1
    assert found.excess == 0


def test_fc_01_counts_by_part_and_arms_without_rows(tiny_study):
  obs = tiny_study.obs
  obs = obs.replace(arm=np.where(obs.arm == 2, 0, obs.arm))
  study = tiny_study.replace(obs=obs)
  counts = arm_counts(study)
  assert counts.empty() == [("obs", 2)]
  assert counts.parts == ("obs", "rct_train", "rct_valid", "rct_test")
  np.testing.assert_array_equal(counts.counts.sum(axis=1), [600, 300, 200, 200])
  np.testing.assert_allclose(counts.shares.sum(axis=1), 1)
  assert counts.counts[1, 3] == np.sum(tiny_study.rct_train.arm == 3)
  assert arm_counts(study.for_learners()).parts == counts.parts[:3]


def test_households_in_two_parts(tiny_study):
  assert shared_households(tiny_study) == {}
  start, groups = 0, {}
  for name in ("obs", "rct_train", "rct_valid", "rct_test"):
    part = getattr(tiny_study, name)
    groups[name] = part.replace(
      group=np.arange(start, start + len(part), dtype=np.int32)
    )
    start += len(part)
  study = tiny_study.replace(**groups)
  assert shared_households(study) == {}
  group = np.array(study.rct_test.group)
  group[:4] = [0, 0, 1, 650]
  study = study.replace(rct_test=study.rct_test.replace(group=group))
  assert shared_households(study) == {
    ("obs", "rct_test"): 2,
    ("rct_train", "rct_test"): 1,
  }


def test_the_pooled_trial_keeps_rows_and_households(tiny_study):
  pooled = pooled_rct(tiny_study)
  assert len(pooled) == 700
  np.testing.assert_array_equal(pooled.group, np.arange(700))
  np.testing.assert_array_equal(
    pooled.revenue[300:500], tiny_study.rct_valid.revenue
  )
  valid = tiny_study.rct_valid
  valid = valid.replace(group=np.full(len(valid), 5, np.int32))
  pooled = pooled_rct(tiny_study.replace(rct_valid=valid))
  np.testing.assert_array_equal(pooled.group[300:500], 5)
