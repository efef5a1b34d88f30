import jax
import numpy as np

from bidfcl_jax import config, data
from bidfcl_jax.data.checks import covariate_shift


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
