"""DIRECT: its step against the closed form of its loss."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from methods.simple_rivals import KEY, entered, first_rows, gradient, untrained
from paired import doubled

from bidfcl_jax import losses
from bidfcl_jax.methods.method import to_money
from bidfcl_jax.models import make_target


def test_its_slope_is_that_of_the_labels_and_the_decision_on_both_sources(
  tiny_study, tiny_config
):
  config = tiny_config(
    network__hidden=(4,),
    simple__members=2,
    direct__weight=3.0,
    direct__decision__budgets=(1.0,),
  )
  with jax.enable_x64(True):
    members = jax.tree.map(
      lambda *leaves: jnp.stack(leaves),
      *(untrained(seed, tiny_study, config) for seed in (1, 2)),
    )
    method, state = entered("DIRECT", tiny_study, config, members=members)
    stage = method.stages[-1]
    aux = stage.fixed(state, tiny_study)
    state, aux, block = doubled((state, aux, first_rows(tiny_study.obs, 64)))
    new, metrics = jax.jit(stage.step)(KEY, state, block, aux)

    network = make_target(config.network)
    features, rows, terms = jax.tree.map(
      lambda x: x[0], (block.samples.features, block.rows, metrics)
    )
    (taught, _), rct = aux.at(rows), aux.rct.samples

    def prediction(theta):
      gaps = jax.tree.map(jnp.subtract, network.apply(theta, features), taught)
      return jnp.mean(jnp.sum(gaps.revenue**2 + gaps.cost**2, axis=1))

    def judged(theta, features, labels):
      return losses.plugin_policy_loss(
        to_money(network.apply(theta, features), state.scale),
        labels,
        jnp.ones(len(features)),
        price=terms["price"],
        temperature=terms["temperature"],
        reward_price=terms["reward_price"],
      )

    def decision(theta):
      on_rct = judged(theta, rct.features, aux.rct.labels)
      on_obs = judged(theta, features, to_money(taught, state.scale))
      return (on_rct + on_obs) / jnp.mean(rct.revenue)

    flat, back = ravel_pytree(state.target)
    lower, upper = jax.jit(
      jax.jacobian(
        lambda x: jnp.stack([prediction(back(x)), decision(back(x))])
      )
    )(flat)
    assert np.any(upper)
    slope, _ = ravel_pytree(gradient(new))
    np.testing.assert_allclose(slope, lower + 3 * upper, rtol=1e-6, atol=1e-9)
