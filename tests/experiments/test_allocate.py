"""Arms for a file of individuals: by hand, by pieces, and as a user asks."""

import gzip
import re
import subprocess
import sys

import jax
import numpy as np
import polars as pl
import pytest
from stored_run import MAY, people

from bidfcl_jax import evaluation
from bidfcl_jax.allocation import solve
from bidfcl_jax.data.parsing import read_table
from bidfcl_jax.evaluation import PriceCurve
from experiments import data_flags, stored
from experiments.allocating import allocate
from experiments.allocation_output import check_files
from experiments.individuals import Request

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def served(trained_run):
  return stored.open_fit(trained_run, "TSM-SL-RCT", 0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  path = tmp_path_factory.mktemp("people") / "people.csv"
  people().write_csv(path)
  return path


def ask(served, source, output, budget=0.3, **options):
  request = Request(source, output, budget, **options)
  done = allocate(served, request, KEY)
  read = pl.read_parquet if output.suffix == ".parquet" else pl.read_csv
  return done, read(output)


def predicted(served, source):
  return served.predict(read_table(source, list(served.coding.inputs)))


def test_model_price_equals_the_solution_in_memory(served, source, tmp_path):
  outcomes = predicted(served, source)
  budget = 0.4 * solve(outcomes, 1e9).cost
  known = solve(outcomes, budget)
  done, rows = ask(
    served, source, tmp_path / "a.csv", budget, price_from="model", rows=77
  )
  np.testing.assert_allclose(done.price, known.price, rtol=1e-9)
  arms = np.array(served.arm_names)[known.arms]
  assert (rows["arm"].to_numpy() != arms).sum() <= 1
  cost = rows["expected_cost"].to_numpy()
  assert cost.mean() <= budget and done.cost <= budget
  np.testing.assert_allclose(done.cost, cost.mean(), rtol=1e-9)
  assert 0 <= done.bound - done.revenue <= 10
  np.testing.assert_allclose(done.bound, known.dual_bound, rtol=1e-9)
  assert rows["row"].to_list() == list(range(1, 501))
  np.testing.assert_array_equal(rows["propensity"], 1.0)


def test_total_budget_is_the_same_per_capita(served, source, tmp_path):
  options = {"price_from": "model"}
  one, _ = ask(served, source, tmp_path / "a.csv", 0.3, **options)
  all_, _ = ask(
    served, source, tmp_path / "b.csv", None, total_budget=150.0, **options
  )
  assert one.price == all_.price and all_.budget == 0.3


@pytest.mark.parametrize("price_from", ["rct", "model"])
def test_output_does_not_depend_on_where_the_file_is_cut(
  served, source, tmp_path, price_from
):
  budget = float(served.curve.spend[-1] + served.curve.spend[0]) / 2
  options = {
    "price_from": price_from,
    "explore": 0.2,
    "eligible_columns": MAY,
    "id_column": "who",
  }
  packed = tmp_path / "people.csv.gz"
  packed.write_bytes(gzip.compress(source.read_bytes()))
  people().write_parquet(tmp_path / "people.parquet")
  frames = [
    ask(served, path, tmp_path / name, budget, rows=rows, **options)[1]
    for path, name, rows in (
      (source, "a.csv", 1000),
      (packed, "b.csv.gz", 13),
      (tmp_path / "people.parquet", "c.parquet", 64),
    )
  ]
  assert frames[0]["who"].to_list() == people()["who"].to_list()
  for frame in frames[1:]:
    assert frame["arm"].equals(frames[0]["arm"])
    np.testing.assert_allclose(
      frame["propensity"], frames[0]["propensity"], rtol=1e-6
    )


def test_eligibility_is_kept_by_all_and_propensities_add_up(
  served, source, tmp_path
):
  _, rows = ask(
    served, source, tmp_path / "a.csv", 0.3, price_from="model", explore=0.5,
    eligible_columns=MAY,
  )  # fmt: skip
  allowed = people().select(MAY).to_numpy()
  arm = np.array([served.arm_names.index(a) for a in rows["arm"]])
  assert allowed[np.arange(500), arm].all()
  choices = allowed.sum(axis=1)
  probability = rows["propensity"].to_numpy()
  greedy = probability > 0.5 / choices + 1e-9
  expected = 0.5 / choices + 0.5 * greedy
  # At the jump an individual may be either way: at most one row here.
  assert (np.abs(probability - expected) > 1e-9).sum() <= 1


def test_exploration_frequencies_match_the_written_propensities(
  served, tmp_path
):
  many = tmp_path / "many.parquet"
  people(20_000).write_parquet(many)
  done, rows = ask(
    served, many, tmp_path / "a.parquet", 0.3, price_from="model", explore=0.25
  )
  assert abs(done.explored / 20_000 - 0.25) < 4 * np.sqrt(0.1875 / 20_000)
  low = rows.filter(pl.col("propensity") < 0.5)
  # A row has its own arm by chance too: four of five explorers do not.
  assert abs(len(low) / 20_000 - 0.2) < 4 * np.sqrt(0.16 / 20_000)
  np.testing.assert_allclose(low["propensity"].to_numpy(), 0.05)
  # Inverse propensity weights of every arm count the population.
  for name in served.arm_names:
    weight = rows.filter(pl.col("arm") == name)["propensity"].to_numpy()
    assert abs((1 / weight).sum() / 20_000 - 1) < 0.15
  assert rows["expected_cost"].mean() <= 0.3


def test_rct_price_is_the_curves_and_explorers_count_in_it(
  served, source, tmp_path
):
  budget = float(served.curve.spend[-1] + served.curve.spend[0]) / 2
  done, _ = ask(served, source, tmp_path / "a.csv", budget)
  assert done.price == evaluation.price_of_budget(served.curve, budget)
  means = evaluation.arm_means(served.logged, arms=5).cost.mean()
  done, _ = ask(served, source, tmp_path / "b.csv", budget, explore=0.1)
  rest = (budget - 0.1 * means) / 0.9
  assert done.price == evaluation.price_of_budget(served.curve, rest)


def test_a_budget_below_every_price_leaves_some_individuals_alone(
  served, tmp_path
):
  many = tmp_path / "many.parquet"
  people(20_000).write_parquet(many)
  curve = PriceCurve(np.array([0.0, 0.1]), np.array([3.0, 1.0]))
  dear = served._replace(curve=curve)
  control = evaluation.arm_means(served.logged, arms=5).cost[0, 0]
  budget = 0.6 * control + 0.4 * 1.0
  done, rows = ask(dear, many, tmp_path / "a.parquet", budget, explore=0.0)
  assert done.price == 0.1
  assert done.held == pytest.approx(0.6)
  plain, _ = ask(dear, many, tmp_path / "b.parquet", 1.0)
  assert plain.held == 0.0
  gone = 1 - done.arms[1:].sum() / plain.arms[1:].sum()
  assert abs(gone - 0.6) < 4 * np.sqrt(0.24 / plain.arms[1:].sum())
  given = rows.filter(pl.col("arm") != served.arm_names[0])
  np.testing.assert_allclose(given["propensity"].to_numpy(), 0.4)
  with pytest.raises(ValueError, match="raise it or lower --explore"):
    ask(dear, many, tmp_path / "c.parquet", 0.05, explore=0.3)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda t: t.drop("x3"), "no column 'x3'"),
    (
      lambda t: t.with_columns(
        x3=pl.when(pl.arange(0, 500) == 41).then(pl.lit("much"))
        .otherwise(pl.lit("1"))
      ),
      "line 43, column 'x3': 'much' is not a number",
    ),
    (
      lambda t: t.with_columns(may0=pl.arange(0, 500) != 7, may1=False,
                               may2=False, may3=False, may4=False),
      "line 9, column 'may0': no arm is eligible",
    ),
    (
      lambda t: t.with_columns(may2=pl.lit("perhaps")),
      "'perhaps' is not one of true, false, 1, 0",
    ),
  ],
)  # fmt: skip
def test_fc_04_a_table_that_does_not_fit_is_refused_and_nothing_written(
  served, tmp_path, change, message
):
  path, output = tmp_path / "people.csv", tmp_path / "out" / "a.csv"
  change(people()).write_csv(path)
  with pytest.raises(ValueError, match=message):
    ask(served, path, output, eligible_columns=MAY, rows=16)
  assert not output.parent.exists() or not list(output.parent.iterdir())


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"explore": 1.0}, "--explore=1.0"),
    ({"budget": -1.0}, "finite amount"),
    ({"budget": None}, "give one of them"),
    ({"total_budget": 3.0}, "give one of them"),
    ({"eligible_columns": MAY[:3]}, "each of the 5 arms none, 5%"),
    ({"price_from": "model", "explore": 0.9, "budget": 1e-6}, "exploration"),
  ],
)
def test_requests_that_cannot_be_met_are_refused(
  served, source, tmp_path, options, message
):
  with pytest.raises(ValueError, match=message):
    ask(served, source, tmp_path / "a.csv", **{"budget": 0.3, **options})


def test_fc_18_outputs_are_not_written_over(source, tmp_path):
  output = tmp_path / "a.csv"
  check_files(str(source), str(output), overwrite=False)
  output.write_text("mine")
  with pytest.raises(ValueError, match="--overwrite"):
    check_files(str(source), str(output), overwrite=False)
  check_files(str(source), str(output), overwrite=True)
  with pytest.raises(ValueError, match="is the input"):
    check_files(str(source), str(source), overwrite=True)
  with pytest.raises(ValueError, match=".parquet"):
    check_files(str(source), "a.txt", overwrite=False)


def test_fc_06_command_prints_both_spends_and_the_negative_costs(
  trained_run, served, source, tmp_path
):
  def command(*words):
    return subprocess.run(
      [
        sys.executable, "-m", "experiments.allocate",
        f"--workdir={trained_run}", f"--input={source}",
        f"--output={tmp_path / 'a.csv'}",
        "--price_from=model", "--budget=0.3", "--replicates=5", *words,
      ],
      capture_output=True, text=True, check=False,
    )  # fmt: skip

  done = command("--id_column=who", "--explore=0.1")
  assert done.returncode == 0, done.stderr
  for word in ("500 individuals", "model spend", "RCT-estimated spend", "gap"):
    assert word in done.stdout
  said = re.search(r"true spend (\S+) per capita", done.stdout)[1]
  price = float(re.search(r"price (\S+) ", done.stdout)[1])
  world = data_flags.world(stored.settings_of(trained_run), 0)
  cost = world.truth.outcomes.cost
  arms = np.argmax(served.outcomes(world.rct_test.features).score(price), 1)
  true = 0.9 * cost[np.arange(300), arms].mean() + 0.1 * cost.mean()
  # The printed price is rounded: a row or two may stand on its other side.
  np.testing.assert_allclose(float(said), true, rtol=0.01)
  negative = (predicted(served, source).cost < 0).sum()
  assert negative > 0
  assert f"\n{negative:,} negative predicted costs counted as 0" in done.stdout
  written = pl.read_csv(tmp_path / "a.csv")
  assert written.columns == [
    "who", "arm", "expected_revenue", "expected_cost", "propensity",
  ]  # fmt: skip
  assert written["expected_cost"].min() >= 0
