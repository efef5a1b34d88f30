"""The bridge network G_phi between the teacher and the target (method.md 4).

"gates"     w_ij = sigmoid(G(x_i)_j) in (0, 1): 1 takes the teacher's outcome as
            the pseudo-label of cell (i, j), 0 the target's own (the paper)
"weights"   softplus(G(x_i)_j + log(e - 1)) > 0, which is 1 at G = 0: the weight
            of an observed outcome (Table 3, row 3)
"additive"  G(x_i)_j itself, a correction of the teacher's label, scaled units
"""

import math

import jax

from bidfcl_jax.config import BilevelConfig, NetworkConfig
from bidfcl_jax.models.mlp import MLP, Network, two_heads

_LINKS = {
  "gates": jax.nn.sigmoid,
  "weights": lambda x: jax.nn.softplus(x + math.log(math.e - 1)),
  "additive": lambda x: x,
}


def make_bridge(config: BilevelConfig, network: NetworkConfig) -> Network:
  """Makes the bridge; its Outcomes `[n, M]` are what config.bridge says."""
  return two_heads(
    lambda outputs: MLP(
      config.bridge_hidden or network.hidden,
      outputs,
      network.activation,
      config.bridge_last_scale,
      config.gate_start if config.bridge == "gates" else 0.0,
    ),
    link=_LINKS[config.bridge],
  )
