"""Which methods the pictures show where a run has many."""

import math

from bidfcl_jax import methods
from bidfcl_jax.report import SIMPLE_RIVALS
from experiments.publish import MOST_DRAWN, drawn


def test_few_methods_are_all_drawn():
  assert drawn(("FT", "AVG"), {}) == ("FT", "AVG")


def test_of_many_the_rivals_ours_and_the_best():
  names = methods.names()
  means = dict.fromkeys(names, 1.0) | {"STACK": 1.3, "RES": 1.2, "IPS": 1.1}
  means |= {"DHCL": math.nan, "KD-FT": 1.05}
  shown = drawn(names, means)
  assert len(shown) == MOST_DRAWN
  best = {"STACK", "RES", "IPS"}
  assert set(shown) == {*SIMPLE_RIVALS, "Bi-DFCL-PPL", *best}
  assert list(shown) == [name for name in names if name in shown]
