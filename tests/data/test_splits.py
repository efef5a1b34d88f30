import jax
import numpy as np
import pytest

from bidfcl_jax.data.splits import split

SHARES = {"test": 0.35, "valid": 0.10, "rct": 0.05, "pool": 0.50}
KEY = jax.random.key(0)


def test_parts_hold_exact_shares_and_every_row_once_in_file_order():
  parts = split(np.arange(1003), SHARES, KEY)
  assert list(parts) == list(SHARES)
  assert [len(p) for p in parts.values()] == [351, 100, 50, 502]
  joined = np.concatenate(list(parts.values()))
  np.testing.assert_array_equal(np.sort(joined), np.arange(1003))
  for rows in parts.values():
    assert np.all(np.diff(rows) > 0)


def test_groups_are_never_torn_and_shares_count_groups():
  group = np.random.default_rng(0).integers(0, 400, 2000) * 7 - 50
  names = np.array([f"h{g}" for g in group])
  parts = split(names, SHARES, KEY)
  owners = [set(names[rows]) for rows in parts.values()]
  total = len(set(names))
  assert sum(len(o) for o in owners) == total
  assert len(set().union(*owners)) == total
  for part, owner in zip(SHARES, owners, strict=True):
    assert abs(len(owner) - SHARES[part] * total) <= 2


def test_depends_on_the_key_alone_not_on_the_order_of_rows():
  group = np.repeat(np.arange(100), 3)
  shuffled = np.random.default_rng(0).permutation(group)
  one, two = split(group, SHARES, KEY), split(shuffled, SHARES, KEY)
  other = split(group, SHARES, jax.random.key(1))
  assert set(group[one["test"]]) == set(shuffled[two["test"]])
  assert set(group[one["test"]]) != set(group[other["test"]])


@pytest.mark.parametrize(
  "shares, message",
  [
    ({"a": 0.5, "b": 0.4}, "add up to 0.9"),
    ({"a": 1.2, "b": -0.2}, "'b': -0.2"),
    ({"a": 1.0, "b": 0.0}, "'b': 0.0"),
    ({"a": 0.01, "b": 0.99}, "part 'a' .* would have no row"),
    ({"a": 0.99, "b": 0.01}, "part 'b' .* would have no row"),
  ],
)
def test_bad_shares_are_refused_by_name(shares, message):
  with pytest.raises(ValueError, match=message):
    split(np.arange(10), shares, KEY)
