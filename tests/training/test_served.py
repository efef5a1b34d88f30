import jax
import numpy as np
import polars as pl
import pytest

from bidfcl_jax import methods
from bidfcl_jax.data.parsing import Table
from bidfcl_jax.models.chunks import apply_in_chunks
from bidfcl_jax.training import load_served, save_served
from bidfcl_jax.training.served import ARRAYS, RECORD


@pytest.fixture(scope="module")
def made(tiny_config, tiny_study):
  """An untrained state of a method with two networks and a weight."""
  config = tiny_config()
  method = methods.make("AVG", config)
  state = method.init(jax.random.key(1), tiny_study)
  return config, method, state


@pytest.fixture
def folder(made, tiny_study, tmp_path):
  save_served(tmp_path, *made[1:], tiny_study, budget=1.5, extra={"seed": 3})
  return tmp_path


def test_fc_17_a_stored_model_predicts_the_same_bits(made, folder, tiny_study):
  config, method, state = made
  served = load_served(folder, methods.make("AVG", config))
  features = tiny_study.rct_test.features
  expected = apply_in_chunks(method.predict, state, features)
  got = served.outcomes(features)
  np.testing.assert_array_equal(got.revenue, expected.revenue)
  np.testing.assert_array_equal(got.cost, expected.cost)
  assert served.budget == 1.5 and served.record["seed"] == 3
  assert served.arm_names == tiny_study.arm_names
  with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
    assert all(arrays[name].dtype.kind in "fiub" for name in arrays)


def test_raw_rows_are_coded_and_scaled_as_those_of_the_fit(
  made, folder, tiny_study
):
  config, method, state = made
  served = load_served(folder, method)
  scalers = tiny_study.scalers
  standard = np.asarray(tiny_study.rct_test.features[:9], np.float64)
  raw = standard * scalers.feature_scale + scalers.feature_mean
  cells = pl.DataFrame(raw, schema=list(tiny_study.feature_names))
  # Columns are found by name, whatever their order in the file.
  table = Table("t", cells.select(reversed(cells.columns)), np.arange(9))
  expected = apply_in_chunks(method.predict, state, standard)
  np.testing.assert_allclose(
    served.predict(table).revenue, expected.revenue, rtol=1e-4, atol=1e-4
  )


def test_known_costs_are_served(tiny_config, tiny_study, tmp_path):
  study = tiny_study.replace(known_cost=np.arange(5.0))
  method = methods.make("FT", tiny_config())
  state = method.init(jax.random.key(1), study)
  save_served(tmp_path, method, state, study, budget=1.0, extra={})
  served = load_served(tmp_path, method)
  got = served.outcomes(study.rct_test.features[:3])
  np.testing.assert_array_equal(got.cost, np.tile(np.arange(5.0), (3, 1)))


def test_a_method_without_a_state_of_arrays_is_refused_saying_why(
  made, tiny_study, tmp_path
):
  _, method, _ = made
  forest = method._replace(name="TSM-CF-RCT")
  save_served(tmp_path, forest, object(), tiny_study, budget=1.0, extra={})
  with pytest.raises(ValueError, match="TSM-CF-RCT keeps its model in memory"):
    load_served(tmp_path, forest)


def test_fc_18_half_written_damaged_or_foreign_models_are_refused(
  made, folder, tiny_config
):
  _, method, _ = made
  with pytest.raises(ValueError, match="asked for FT"):
    load_served(folder, methods.make("FT", tiny_config()))
  other = tiny_config(network__hidden=(8, 8))
  with pytest.raises(ValueError, match="has other parts"):
    load_served(folder, methods.make("AVG", other))
  content = (folder / ARRAYS).read_bytes()
  (folder / ARRAYS).write_bytes(content[:-1])
  with pytest.raises(ValueError, match="damaged or exchanged"):
    load_served(folder, method)
  (folder / RECORD).unlink()
  with pytest.raises(ValueError, match="no stored model"):
    load_served(folder, method)
