"""Predict, then optimise: TSM-SL on one or both sources.

TSM-SL (Kunzel et al., PNAS 2019; the tables' reference row) fits factual
outcomes of one source; the union concatenates both without weights. Other
methods begin with these stages, or fine-tune the OBS model on RCT rows.
"""

from bidfcl_jax.config import Config
from bidfcl_jax.methods.method import Method
from bidfcl_jax.methods.stages import prediction_stage
from bidfcl_jax.methods.updates import (
  go_on,
  money_apply,
  plain_init,
  restart,
)
from bidfcl_jax.models import Network, make_target


def obs_stage(config: Config, network: Network):
  """Factual regression on OBS from new weights."""
  return prediction_stage(
    "obs", "obs", config.obs, network, restart(network, config.obs)
  )


def rct_stage(config: Config, network: Network):
  """Factual regression on RCT from new weights."""
  return prediction_stage(
    "rct", "rct", config.rct, network, restart(network, config.rct)
  )


def union_stage(config: Config, network: Network):
  """Factual regression on the union of both from new weights."""
  return prediction_stage(
    "union", "union", config.obs, network, restart(network, config.obs)
  )


def finetune_stage(config: Config, network: Network):
  """Factual regression on RCT from the target at hand."""
  return prediction_stage(
    "finetune", "rct", config.finetune, network, go_on(config.finetune)
  )


def make_two_stage(name: str, *stage_makers):
  """Returns config -> Method with the given stages, one after the other."""

  def make(config: Config) -> Method:
    network = make_target(config.network)
    return Method(
      name=name,
      init=plain_init(network, config.obs),
      stages=tuple(stage(config, network) for stage in stage_makers),
      predict=money_apply(network),
    )

  return make


METHODS = {
  "TSM-SL-RCT": make_two_stage("TSM-SL-RCT", rct_stage),
  "TSM-SL-OBS": make_two_stage("TSM-SL-OBS", obs_stage),
  "TSM-SL-BOTH": make_two_stage("TSM-SL-BOTH", union_stage),
}
