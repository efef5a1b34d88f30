"""What a run keeps from one seed to the next."""

import jax
import numpy as np

from experiments import runner


def test_compiled_code_is_dropped_where_shapes_change(tiny_study, monkeypatch):
  dropped = []
  monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(1))
  shapes = runner._forget_other_shapes(None, tiny_study)
  rct = tiny_study.rct_train
  same = tiny_study.replace(rct_train=rct.replace(cost=2 * rct.cost))
  shapes = runner._forget_other_shapes(shapes, same)
  assert not dropped
  short = jax.tree.map(lambda x: np.asarray(x)[:-1], rct)
  fewer = tiny_study.replace(rct_train=short)
  shapes = runner._forget_other_shapes(shapes, fewer)
  assert len(dropped) == 1
  runner._forget_other_shapes(shapes, fewer)
  assert len(dropped) == 1
