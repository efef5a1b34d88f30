import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from scipy.special import expit

from bidfcl_jax.config import HybridConfig
from bidfcl_jax.data import Rows, hybrid_study
from bidfcl_jax.types import Samples
from experiments import hybrid_bias

ARMS = ("No E-Mail", "Womens E-Mail", "Mens E-Mail")
HEADER = (
  "recency,history,mens,womens,newbie,zip_code,channel,segment,visit,"
  "conversion,spend"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  """A file like Hillstrom's in which customers of women's goods visit."""
  rng, lines = np.random.default_rng(0), [HEADER]
  for i in range(6000):
    womens = rng.integers(2)
    visit = int(rng.random() < 0.1 + 0.6 * womens + 0.1 * (i % 3))
    lines.append(
      f"{rng.integers(1, 13)},{rng.uniform(30, 400):.2f},1,{womens},0,Rural,"
      f"Web,{ARMS[i % 3]},{visit},{visit},0"
    )
  file = tmp_path_factory.mktemp("hybrid") / "h.csv"
  file.write_text("\n".join(lines))
  return file


def run(*words):
  with flagsaver.flagsaver():
    flags.FLAGS(["hybrid_bias", *words])
    hybrid_bias.main()


def test_main_shows_the_bias_and_its_removal(path, capsys):
  run(
    "--data=hillstrom",
    f"--data_path={path}",
    "--revenue_column=visit",
    "--draws=6",
    "--strength=0,2",
  )
  table = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
  assert [row[0] for row in table] == ["0", "0", "2", "2"]
  kept = [float(row[1].rstrip("%")) for row in table]
  assert kept[0] == 100 and 20 < kept[2] < 80
  assert [row[2] for row in table] == ["Womens", "Mens"] * 2
  numbers = np.array([[float(v.strip("()")) for v in r[4:]] for r in table])
  effect, _, naive, naive_se, _, weighted, weighted_se = numbers.T
  np.testing.assert_allclose(effect[:2], effect[2:])
  np.testing.assert_allclose(effect[:2], [0.1, 0.2], atol=0.04)
  assert not numbers[:2, [2, 3, 5, 6]].any()
  assert (naive[2:] > 5 * naive_se[2:]).all()
  assert (np.abs(weighted[2:]) < 4 * weighted_se[2:]).all()
  assert (naive[2:] > 0.1).all() and (weighted_se[2:] < 0.04).all()


def test_effects_are_differences_of_weighted_means():
  part = Samples(
    None,
    np.array([0, 0, 1, 1, 2]),
    np.array([1.0, 3.0, 4.0, 8.0, 0.0]),
    None,
  )
  np.testing.assert_allclose(hybrid_bias.effects(part, 3), [4, -2])
  weight = np.array([1.0, 3, 3, 1, 1])
  np.testing.assert_allclose(hybrid_bias.effects(part, 3, weight), [2.5, -2.5])


def test_pool_and_trial_are_those_before_the_policy():
  rng = np.random.default_rng(0)
  x, arm = rng.standard_normal((4000, 2)), rng.integers(0, 2, 4000)
  visit = (rng.random(4000) < expit(x[:, 0] + arm)).astype(float)

  def load(settings):
    return hybrid_study(
      Rows(x, arm, visit, visit),
      jax.random.key(0),
      settings,
      arm_names=("none", "mail"),
      feature_names=("a", "b"),
      prognostic=visit,
    )

  got = hybrid_bias.draw(load, HybridConfig(strength=1.0, floor=0.1))
  assert got.names == ("mail",)
  # float32 revenue of 0 and 1 is exact, so the whole trial's effect is too.
  whole = visit[arm == 1].mean() - visit[arm == 0].mean()
  np.testing.assert_allclose(got.trial, [whole])
  study = load(HybridConfig(strength=1.0, floor=0.1))
  outside = (study.rct_train, study.rct_valid, study.rct_test)
  pool = 4000 - sum(len(part) for part in outside)
  assert got.kept == len(study.obs) / pool
  left = [
    np.array([((p.arm == j) * v).sum() for v in (p.revenue, 1)])
    for p in outside
    for j in (0, 1)
  ]
  rest = [
    np.array([visit[arm == j].sum(), (arm == j).sum()]) - sum(left[j::2])
    for j in (0, 1)
  ]
  np.testing.assert_allclose(
    got.pool, [rest[1][0] / rest[1][1] - rest[0][0] / rest[0][1]]
  )


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--data=simulated"], "--data=simulated is no trial"),
    (["--data=hillstrom"], "needs --data_path"),
    (["--data=hillstrom", "--strength=much"], "--strength=much: give numbers"),
    # The data set's own default strength is no second choice of the user's.
    (["--data=social_pressure", "--strength=1"], "needs --data_path"),
  ],
)
def test_flags_that_cannot_be_used_are_refused(words, message):
  with pytest.raises(ValueError, match=message):
    run(*words)


def test_strength_given_twice_is_refused(path):
  # --config.* flags exist only where a command line is parsed afresh.
  words = ["--strength=1", "--config.hybrid.strength=1"]
  done = subprocess.run(
    [
      sys.executable,
      "-m",
      "experiments.hybrid_bias",
      "--data=hillstrom",
      f"--data_path={path}",
      *words,
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert "not both" in done.stderr
