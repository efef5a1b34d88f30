"""The settings of data that are made: worlds, and OBS out of a real RCT."""

from dataclasses import dataclass


@dataclass
class SimulatorConfig:
  """A simulated world (data/simulator.py).

  Attributes:
    kind: "S1" five discounts, "S2" eight money-off arms, "S3" re-activation.
    n_obs: logged rows.
    n_rct: randomised training rows.
    n_valid: randomised validation rows.
    n_test: randomised test rows, with known outcomes.
    features: d.
    confounding: "segment" or "signed".
    gamma: strength of the hidden confounding of the logging policy.
    kappa: effect of the hidden confounder on the outcomes.
    overlap: share of uniform arms mixed into the logging policy.
  """

  kind: str = "S1"
  n_obs: int = 100_000
  n_rct: int = 10_000
  n_valid: int = 5_000
  n_test: int = 10_000
  features: int = 24
  confounding: str = "segment"
  gamma: float = 3.0
  kappa: float = 1.0
  overlap: float = 0.05


@dataclass
class HybridConfig:
  """OBS made out of a real RCT by rejection sampling (data/hybrid.py).

  Attributes:
    strength: k, how strongly the logging policy follows the prognostic score.
    test: share of groups (households, else rows) held out for the test.
    valid: share for validation.
    rct: share for RCT-train; the rest is the pool that OBS is drawn from.
    floor: least logging propensity of an arm (mixed-in uniform policy).
    clip: bound on the size of the standardised prognostic score; 0 means none.
    hidden: columns that drive the logging policy and are withheld from every
      learner (hidden confounding).
  """

  strength: float = 1.0
  test: float = 0.35
  valid: float = 0.10
  rct: float = 0.05
  floor: float = 0.0
  clip: float = 0.0
  hidden: tuple[str, ...] = ()
