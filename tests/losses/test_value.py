import jax.numpy as jnp
import numpy as np
import pytest

from bidfcl_jax.losses.value import policy_value, safe_ratio
from bidfcl_jax.types import Outcomes, Samples

SAMPLES = Samples(
  np.zeros((100, 1), np.float32),
  np.repeat([0, 1], [60, 40]).astype(np.int32),
  np.full(100, 10.0, np.float32),
  np.full(100, 10.0, np.float32),
)
TREAT_ALL = jnp.tile(jnp.array([0.0, 1.0]), (100, 1))
COUNTED, DECLARED = jnp.array([0.6, 0.4]), jnp.array([0.5, 0.5])


@pytest.mark.parametrize(
  ("policy", "share", "estimator", "expected"),
  [
    (TREAT_ALL, COUNTED, "ipw", 10.0),
    (TREAT_ALL, DECLARED, "snipw", 10.0),
    (TREAT_ALL, DECLARED, "ipw", 8.0),
    (1 - TREAT_ALL, DECLARED, "ipw", 12.0),
  ],
)
def test_fc_09_estimators_by_name(policy, share, estimator, expected):
  values = policy_value(policy, SAMPLES, share, estimator=estimator)
  np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_doubly_robust_is_exact_with_the_true_model():
  model = Outcomes(jnp.full((100, 2), 10.0), jnp.full((100, 2), 10.0))
  values = policy_value(
    TREAT_ALL, SAMPLES, DECLARED, estimator="dr", nuisance=model
  )
  np.testing.assert_allclose(values, 10.0, rtol=1e-6)


def test_padding_and_zero_denominators():
  padded = SAMPLES.replace(
    weight=np.repeat([1.0, 0.0], [80, 20]).astype(np.float32)
  )
  cut = Samples(*(x[:80] for x in vars(SAMPLES).values()))
  a = policy_value(TREAT_ALL, padded, COUNTED)
  b = policy_value(TREAT_ALL[:80], cut, COUNTED)
  np.testing.assert_allclose(a, b, rtol=1e-6)
  assert safe_ratio(jnp.ones(()), jnp.zeros(())) == 0
  with pytest.raises(ValueError, match="nuisance"):
    policy_value(TREAT_ALL, SAMPLES, COUNTED, estimator="dr")
