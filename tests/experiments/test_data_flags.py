import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import common, data_flags


@pytest.fixture
def given():
  """Returns a function that sets flags as a command line does."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["test"])
  with flagsaver.flagsaver():

    def give(*words):
      flags.FLAGS(["test", *words])
      return common.resolved_config()

    yield give
    flags.FLAGS.unparse_flags()


def lazada_file(path, rows=80):
  rng = np.random.default_rng(0)
  names = ["data_id", "label", "is_treat", *(f"f{i}" for i in range(83))]
  cells = rng.integers(2, size=(rows, 86))
  lines = [names, *cells.tolist()]
  path.write_text("\n".join(",".join(map(str, line)) for line in lines))
  return path


def test_every_source_has_its_list_of_flags():
  assert set(data_flags._READ) == set(flags.FLAGS["data"].parser.enum_values)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--data=criteo"], "--data=criteo needs --data_path"),
    (["--data=lazada", "--data_path=x"], "lazada needs --test_path"),
    (["--data=criteo", "--test_path=x"], "--test_path is not read"),
    (["--data=hillstrom", "--read_rows=9"], "--read_rows is not read"),
    (["--data=hillstrom", "--cache_folder=x"], "--cache_folder is not read"),
    (["--data=social_pressure", "--cost_column=c"], "--cost_column is not"),
    (["--data=mt_lift", "--one_hot=a"], "--one_hot is not read"),
    (["--impute=all"], "--impute is not read with --data=simulated"),
  ],
)
def test_missing_and_idle_flags_are_refused(given, words, message):
  config = given(*words)
  with pytest.raises(ValueError, match=message):
    common.load_study(config, 0)


def test_own_hybrid_of_a_data_set_gives_way_to_a_flag(given, monkeypatch):
  hybrid = given("--data=criteo").hybrid
  assert (hybrid.test, hybrid.valid, hybrid.clip) == (0.3, 0.1, 2.0)
  monkeypatch.setattr(common, "given_overrides", lambda: {"hybrid.clip": 1.5})
  changed = given("--data=criteo").hybrid
  assert (changed.test, changed.clip) == (0.3, 1.5)


def test_lazada_by_flags_and_what_a_run_remembers(given, tmp_path):
  path = lazada_file(tmp_path / "l.csv")
  config = given(
    "--data=lazada",
    f"--data_path={path}",
    f"--test_path={path}",
    "--arm_costs=0,3",
    "--read_rows=60",
    f"--cache_folder={tmp_path / 'cache'}",
  )
  study = common.load_study(config, 0)
  assert len(study.obs) == 60
  np.testing.assert_array_equal(study.known_cost, [0, 3])
  assert (tmp_path / "cache").is_dir()
  # The cache is no part of what the data are.
  assert common.given_flags() == {
    "data": "lazada",
    "data_path": str(path),
    "test_path": str(path),
    "arm_costs": ["0", "3"],
    "read_rows": 60,
  }


def test_words_and_empty_cells_of_a_table_by_flags(given, tmp_path):
  path = tmp_path / "t.csv"
  lines = ["town,age,arm,y,c,source"]
  for i in range(80):
    age = "" if i % 9 == 0 else i
    source = "obs" if i < 20 else "rct"
    lines.append(f"t{i % 2},{age},{i % 3 % 2},{i % 5},{i % 3 % 2},{source}")
  path.write_text("\n".join(lines))
  words = [
    "--data=table",
    f"--data_path={path}",
    "--features=town,age",
    "--arms=0,1",
    "--arm_column=arm",
    "--revenue_column=y",
    "--cost_column=c",
    "--source_column=source",
  ]
  with pytest.raises(ValueError, match="column 'town': 't0' is not a number"):
    common.load_study(given(*words), 0)
  more = ["--one_hot=town", "--impute=all", "--impute_by=median"]
  study = common.load_study(given(*words, *more), 0)
  assert study.feature_names == ("town=t0", "town=t1", "age")
  assert study.coding.columns[0].fill in ("t0", "t1")
  study = common.load_study(given(*words, *more, "--propensity=0.7,0.3"), 0)
  np.testing.assert_array_equal(study.propensity, [0.7, 0.3])
  with pytest.raises(ValueError, match="--propensity=0.7,x: give one number"):
    common.load_study(given(*words, *more, "--propensity=0.7,x"), 0)
  path.write_text(path.read_text().replace(",1,obs", ",-1,obs"))
  with pytest.raises(ValueError, match="allow_negative_cost"):
    common.load_study(given(*words, *more, "--propensity=0.7,0.3"), 0)
  study = common.load_study(given(*words, *more, "--allow_negative_cost"), 0)
  assert study.obs.cost.min() == -1
