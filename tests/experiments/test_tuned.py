"""chosen.json: read, refused, and obeyed by fits and by what reads them."""

import json

import jax
import pytest
from stored_run import SIZES

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, methods
from bidfcl_jax.report import claim
from experiments import runner, stored, tuned

SEARCH = tuned.Tuned(
  trials=8,
  criterion="valid_mse",
  seeds=(1000, 1001),
  preset="quick",
  recipe="recommended",
  settings=tuned.settings_of(config_lib.make("quick"), {"data": "simulated"}),
  methods={
    "FT": {"obs.epochs": 30, "decision.temperature": ["spread", 0.5]},
    "AVG": {},
  },
)


def test_what_is_written_is_read(tmp_path):
  tuned.write(tmp_path / "chosen.json", SEARCH)
  assert tuned.read(tmp_path / "chosen.json") == SEARCH
  assert SEARCH.words.startswith("tuned: 8 trials a method, by valid_mse")


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"methods": {"FTT": {}}}, "unknown method 'FTT'; did you mean FT"),
    (
      {"methods": {"FT": {"obs.epoch": 3}}},
      "FT: no option 'obs.epoch' in the configuration; did",
    ),
    ({"methods": {"FT": {"budget": 2.0}}}, "budget is the same for every"),
    ({"methods": {"FT": {"simulator.n_obs": 9}}}, "simulator.n_obs is the sam"),
    ({"methods": {"FT": 3}}, "FT must be an object"),
    ({"trials": None}, "'trials' is missing or no int"),
  ],
)
def test_a_flawed_file_is_refused_by_name(changes, words, tmp_path):
  path = tmp_path / "chosen.json"
  path.write_text(json.dumps(SEARCH._asdict() | changes))
  with pytest.raises(ValueError, match=words) as error:
    tuned.read(path)
  assert "chosen.json" in str(error.value)
  path.write_text("{")
  with pytest.raises(ValueError, match="cannot be read as JSON"):
    tuned.read(path)
  with pytest.raises(ValueError, match="cannot be read"):
    tuned.read(tmp_path / "none.json")


def test_a_search_split_by_method_is_one(tmp_path):
  paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
  parts = [{"FT": SEARCH.methods["FT"]}, {"AVG": {}}, {"FT": {}}]
  for path, own in zip(paths, parts, strict=True):
    tuned.write(path, SEARCH._replace(methods=own))
  assert tuned.read_all(paths[:2]) == SEARCH
  with pytest.raises(ValueError, match=r"c\.json: FT stands in an earlier"):
    tuned.read_all(paths)
  for field, other in (("trials", 4), ("seeds", (7,)), ("preset", "paper")):
    tuned.write(paths[1], SEARCH._replace(**{field: other}))
    with pytest.raises(ValueError, match=rf"b\.json: searched with {field} "):
      tuned.read_all(paths[:2])
  with pytest.raises(ValueError, match="names no file"):
    tuned.read_all([])


def test_a_table_keeps_off_the_search_s_worlds_and_settings():
  def use(seeds=range(10), recipe="recommended", **other):
    overrides = {k.replace("__", "."): v for k, v in other.items()}
    config = config_lib.make("quick", recipe, overrides)
    tuned.check_use(SEARCH, seeds, config, {"data": "simulated"})

  # A method's own option may be given for all; a larger test part is no change.
  use(obs__epochs=5, simulator__n_test=20_000)
  with pytest.raises(ValueError, match="seed 1001 was used by the search"):
    use(range(1001, 1004))
  with pytest.raises(ValueError, match="recipe recommended.*has plus"):
    use(recipe="plus")
  for option, value in (
    ("budget", 2.0),
    ("network__hidden", ()),
    ("simulator__kind", "S2"),
    ("simulator__n_rct", 5_000),
    ("training__checkpoint", "valid_eom"),
  ):
    with pytest.raises(ValueError, match=option.replace("__", ".")):
      use(**{option: value})
  with pytest.raises(ValueError, match="arm_costs"):
    config = config_lib.make("quick")
    flags = {"data": "simulated", "arm_costs": ["0", "1"]}
    tuned.check_use(SEARCH, [0], config, flags)


def test_the_caption_says_who_was_judged_otherwise():
  assert "by valid_mse on seeds" in SEARCH.words
  both = SEARCH._replace(methods={"FT": {}, "DHCL": {}})
  assert "by valid_mse (DHCL: by valid_eom) on seeds" in both.words


def test_flags_win_and_no_row_is_untuned():
  own = tuned.options_of(SEARCH, {"obs.epochs"})
  assert own == {"FT": {"decision.temperature": ["spread", 0.5]}, "AVG": {}}
  tuned.check_searched(own, ["FT", "AVG"])
  with pytest.raises(ValueError, match="no values for FROZEN, DHCL"):
    tuned.check_searched(own, ["FROZEN", "FT", "DHCL"])


def test_a_plan_gives_each_method_its_own_settings():
  config = config_lib.make("quick")
  plan = runner.Plan(("FT", "AVG"), (0,), config, None, tuned=SEARCH.methods)
  assert plan.config_of("FT").obs.epochs == 30
  assert plan.config_of("FT").decision.temperature == ("spread", 0.5)
  assert plan.config_of("AVG") == config == config_lib.make("quick")


def test_a_tuned_model_is_stored_and_opened_with_its_own_settings(tmp_path):
  config = config_lib.make("smoke", "recommended", SIZES)
  # Other than the run's network: the wrong settings could not hold the state.
  own = {"TSM-SL-RCT": {"network.hidden": [5]}}
  plan = runner.Plan(
    ("TSM-SL-RCT",), (0,), config, None, tuned=own, note=SEARCH.words
  )
  study = data.simulate(jax.random.key(0), config.simulator)
  method = methods.make("TSM-SL-RCT", plan.config_of("TSM-SL-RCT"))
  state = method.init(jax.random.key(1), study)
  settings = {
    "data": "simulated",
    "methods": plan.names,
    "seeds": plan.seeds,
    **config_lib.as_dict(config),
    "tuned": plan.tuned,
    "note": plan.note,
  }
  with claim(tmp_path / "run", settings, "h", command=["test"]) as workdir:
    folder = runner.fit_folder(workdir.path, "TSM-SL-RCT", 0)
    runner.store(plan, method, state, study, 0, folder)
  run = tmp_path / "run"
  assert stored.settings_of(run) == config
  assert stored.settings_of(run, "TSM-SL-RCT").network.hidden == (5,)
  served = stored.open_fit(run, "TSM-SL-RCT", 0)
  assert served.record["tuned"] == own["TSM-SL-RCT"]
