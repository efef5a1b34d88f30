"""The bridge's step: its slope, its curvature, where it has no signal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from methods.simple_rivals import KEY, entered, first_rows, gradient, untrained
from paired import central_differences, doubled

from bidfcl_jax import losses, methods, training
from bidfcl_jax.methods.bidfcl import make_parts
from bidfcl_jax.methods.bridge_steps import lower_loss, make_cells, upper_step
from bidfcl_jax.methods.method import to_money, to_scaled

NAME = "Bi-DFCL-PPL"
RATE = 0.1


def rising(seed, study, config):
  """Returns an untrained network whose dearer arms earn and cost more."""
  target = untrained(seed, study, config)
  target["head"]["bias"] += jnp.tile(jnp.linspace(0, 2, study.arms), 2)
  return target


def ready(study, config):
  """Returns (parts, state, aux, block of one batch) of the bi-level stage."""
  teacher = jax.tree.map(lambda leaf: leaf[None], rising(1, study, config))
  target = rising(0, study, config)
  method, state = entered(NAME, study, config, target=target, members=teacher)
  aux = method.stages[-1].fixed(state, study)
  return make_parts(config, "policy"), state, aux, first_rows(study.obs, 64)


def updater(parts):
  """Returns (state, aux, block) -> (gradient for Adam, state, metrics)."""

  @jax.jit
  def update(state, aux, block):
    lesson = aux.at(block.rows)
    new, metrics = upper_step(parts, KEY, state, block.samples, lesson, aux)
    slope = gradient(new.replace(optimiser=new.bridge_optimiser))
    return ravel_pytree(slope)[0], new, metrics

  return update


@pytest.mark.parametrize(
  ("solver", "steps", "bridge"),
  [
    ("unrolled", 2, "gates"),
    pytest.param("explicit", 1, "weights", marks=pytest.mark.slow),
  ],
)
def test_fc_14_the_bridge_goes_down_the_decision_loss_after_the_lower_steps(
  solver, steps, bridge, tiny_study, tiny_config
):
  config = tiny_config(
    network__hidden=(4,),
    bilevel__bridge=bridge,
    bilevel__solver=solver,
    bilevel__assumed_steps=steps,
    bilevel__assumed_learning_rate=RATE,
  )
  with jax.enable_x64(True):
    parts, *rest = ready(tiny_study, config)
    state, aux, block = doubled(rest)
    slope, new, metrics = updater(parts)(state, aux, block)
    samples, rows = jax.tree.map(lambda x: x[0], (block.samples, block.rows))
    samples, (taught, _) = to_scaled(samples, state.scale), aux.at(rows)
    rct = aux.rct.samples

    @jax.jit
    def decision(phi):
      cells = make_cells(parts, phi, samples, taught, state.scale)
      theta = state.target
      for _ in range(steps):
        fall = jax.grad(lower_loss, argnums=1)(parts, theta, samples, cells)
        theta = jax.tree.map(lambda t, s: t - RATE * s, theta, fall)
      outcomes = parts.target.apply(theta, rct.features)
      return losses.policy_loss(
        to_money(outcomes, state.scale),
        rct,
        aux.rct.propensity,
        price=metrics["price"],
        temperature=metrics["temperature"],
        reward_price=metrics["reward_price"],
      )

    expected = central_differences(decision, state.bridge)
    error = np.linalg.norm(slope - expected)
    assert error < 1e-5 * np.linalg.norm(expected)
    assert decision(new.bridge) < decision(state.bridge)


def test_of_a_linear_target_gauss_newton_is_the_hessian(
  tiny_study, tiny_config
):
  slopes = []
  with jax.enable_x64(True):
    for solver in ("cg", "cg_gauss_newton"):
      config = tiny_config(
        network__hidden=(),
        bilevel__labels="frozen_copy",
        bilevel__assumed_steps=0,
        bilevel__solver=solver,
        bilevel__n_cg=200,
      )
      parts, *rest = ready(tiny_study, config)
      slope, *_ = updater(parts)(*doubled(rest))
      slopes.append(slope)
  exact, by_residuals = slopes
  error = np.linalg.norm(by_residuals - exact)
  assert error < 1e-6 * np.linalg.norm(exact)


def test_fc_14_a_teacher_equal_to_the_target_gives_no_signal(
  tiny_study, tiny_config
):
  # Constant networks are equal to the bit in any program.
  config = tiny_config(network__last_scale=0.0, bilevel__assumed_steps=0)
  parts, state, aux, block = ready(tiny_study, config)
  update = updater(parts)
  for shift in (0.0, 0.1):
    taught = jax.tree.map(lambda cells, by=shift: cells + by, aux.taught)
    slope, _, metrics = update(state, aux._replace(taught=taught), block)
    assert not metrics["bridge_skipped"]
    assert metrics["zero_hypergradient"] == (shift == 0)
    assert np.any(slope) == (shift > 0)


def test_fc_14_a_bridge_without_signal_is_told_of(
  tiny_study, tiny_config, caplog
):
  # Gates of exactly 0 have no slope.
  config = tiny_config(obs__epochs=1, bilevel__gate_start=-1e3)
  method = methods.make(NAME, config)
  training.fit(
    method._replace(stages=method.stages[-1:]), tiny_study, KEY, config
  )
  told = "bilevel, epoch 0: hypergradient exactly 0 in 100 % of bridge updates"
  assert told in caplog.text


def test_an_obs_outcome_never_reaches_the_upper_level(tiny_study, tiny_config):
  config = tiny_config(
    bilevel__assumed_steps=0,
    decision__outcomes="plugin",
    decision__covariates="both",
    decision__price_population="obs",
    decision__price_clip=0.0,
  )
  parts, state, aux, block = ready(tiny_study, config)
  update, obs = updater(parts), block.samples
  wild = obs.replace(revenue=100 * obs.revenue + 7, cost=9 - obs.cost)
  slope, _, metrics = update(state, aux, block)
  other, _, same = update(state, aux, block._replace(samples=wild))
  assert metrics["price"] > 0
  for name in ("price", "temperature", "reward_price"):
    assert metrics[name] == same[name]
  assert np.any(slope)
  np.testing.assert_array_equal(slope, other)
