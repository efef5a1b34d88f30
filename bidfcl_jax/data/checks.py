"""Does the experiment cover the population that the logs come from?

lambda* solved on RCT rows answers for the RCT's population: where that is only
a part of the customers, the budget of the wrong population is met.
"""

import numpy as np

from bidfcl_jax.types import Study

NOTABLE = 0.25


def covariate_shift(
  study: Study, threshold: float = NOTABLE
) -> list[tuple[str, float]]:
  """Compares the features' means of OBS and RCT-train rows.

  Args:
    study: features standardised, so that a difference is in (pooled) standard
      deviations.
    threshold: smaller differences are not worth a word.

  Returns:
    (feature name, OBS mean - RCT mean) where the size is above threshold, the
    largest first.
  """
  gap = np.mean(study.obs.features, axis=0, dtype=np.float64) - np.mean(
    study.rct_train.features, axis=0, dtype=np.float64
  )
  names = study.feature_names or [f"feature {k}" for k in range(len(gap))]
  order = np.argsort(-np.abs(gap), kind="stable")
  return [(names[k], float(gap[k])) for k in order if abs(gap[k]) > threshold]
