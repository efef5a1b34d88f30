"""What a run keeps from one seed to the next."""

import jax
import numpy as np
import pytest

from bidfcl_jax.report import claim
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


def test_of_all_methods_one_that_the_data_refuse_is_left_out(
  tiny_study, tiny_config, tmp_path, capsys
):
  # IPS finds out in its fit that nobody knows the logging propensities.
  config = tiny_config(propensity__oracle=True, rct__epochs=1)
  blind = tiny_study.replace(truth=tiny_study.truth.replace(logging=None))
  plan = runner.Plan(("IPS", "TSM-SL-RCT"), (3,), config, lambda _: blind)
  with claim(tmp_path / "a", {}, "h", command=["test"]) as workdir:
    with pytest.raises(ValueError, match="known"):
      runner.run(plan, workdir, lambda: False)
    plan = plan._replace(lenient=True)
    results = runner.run(plan, workdir, lambda: False)
  assert {"IPS"}.isdisjoint(r.method for r in results)
  assert "TSM-SL-RCT" in {r.method for r in results}
  assert "skipped IPS, seed 3: propensity.oracle" in capsys.readouterr().err
