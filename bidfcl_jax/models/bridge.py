"""The bridge network G_phi: gates between the teacher and the target.

w^r_ij, w^c_ij = sigmoid(G_phi(x_i)) (method.md 4): 1 takes the teacher's
outcome as the pseudo-label of cell (i, j), 0 the target's own.
"""

import jax

from bidfcl_jax.config import BilevelConfig, NetworkConfig
from bidfcl_jax.models.mlp import MLP, Network, two_heads


def make_bridge(config: BilevelConfig, network: NetworkConfig) -> Network:
  """Makes the bridge; its Outcomes are gates in (0, 1), `[n, M]` each."""
  return two_heads(
    lambda outputs: MLP(
      config.bridge_hidden or network.hidden,
      outputs,
      network.activation,
      config.bridge_last_scale,
      config.gate_start,
    ),
    link=jax.nn.sigmoid,
  )
