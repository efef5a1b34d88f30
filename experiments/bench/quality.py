"""Hypergradients at one state, to be compared with the converged one.

The bridge update of training (methods/bridge_steps.py) is called with an
optimiser that only remembers what it was given, so that what is compared is
what training would have applied.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from bidfcl_jax.config import Config
from bidfcl_jax.data.batches import take_block
from bidfcl_jax.methods.bidfcl import make_parts
from bidfcl_jax.methods.bridge_steps import upper_step
from experiments.bench.warmed import Epoch, with_bilevel

CONVERGED = 300
_ANY_RESIDUAL = 1e30


class Hypergradient(NamedTuple):
  """One hypergradient: flat, the solve's residual, negative curvature met."""

  flat: jax.Array
  residual: jax.Array
  negative: jax.Array


def _recorder() -> optax.GradientTransformation:
  """An optimiser whose state is the last gradient and that moves nothing."""

  def update(gradient, state, params=None):
    del state, params
    return jax.tree.map(jnp.zeros_like, gradient), gradient

  return optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params), update
  )


def make_gradient(config: Config, surrogate: str = "policy"):
  """Returns jitted (epoch's first block, n_cg) -> Hypergradient.

  n_cg is traced: one compilation serves all counts of iterations.
  """
  config = with_bilevel(config, max_residual=_ANY_RESIDUAL)
  recorder = _recorder()

  @jax.jit
  def gradient(progress, samples, rows, key, aux, n_cg) -> Hypergradient:
    parts = make_parts(with_bilevel(config, n_cg=n_cg), surrogate)
    parts = parts._replace(bridge_adam=recorder)
    state = progress.state
    state = state.replace(bridge_optimiser=recorder.init(state.bridge))
    block = take_block(samples, rows)
    lesson = aux.at(block.rows)
    state, metrics = upper_step(parts, key, state, block.samples, lesson, aux)
    flat, _ = ravel_pytree(state.bridge_optimiser)
    return Hypergradient(
      flat, metrics["cg_residual"], metrics["negative_curvature"]
    )

  def at_first_block(epoch: Epoch, n_cg: int) -> Hypergradient:
    samples, rows, _, key, aux = epoch.args
    return gradient(epoch.progress, samples, rows[0], key, aux, n_cg)

  return at_first_block


def cosine(a: Any, b: Any) -> float:
  """Returns the cosine of two vectors; NaN where one of them is 0."""
  size = float(jnp.linalg.norm(a) * jnp.linalg.norm(b))
  return float(a @ b) / size if size > 0 else float("nan")


_NAMES = ("residual", "negative", "cos GN", "cos H")
NOT_JUDGED = dict.fromkeys(_NAMES, float("nan"))


class Judge:
  """Residuals and cosines; one compilation a solver, each reference once.

  References keep all options but solver, iterations and the curvature's rows.
  """

  def __init__(self):
    self.made: dict[Any, Any] = {}

  def _gradient(self, family: str, config: Config, epoch: Epoch, **changes):
    config = with_bilevel(config, **changes)
    bilevel = config.bilevel
    name = (family, bilevel.solver, bilevel.curvature_rows)
    if name not in self.made:
      self.made[name] = make_gradient(config)
    answer = (*name, bilevel.n_cg)
    if answer not in self.made:
      self.made[answer] = self.made[name](epoch, bilevel.n_cg)
    return self.made[answer]

  def columns(self, family: str, config: Config, epoch: Epoch):
    """Returns the columns of a row.

    Args:
      family: rows of one family differ in solver, n_cg and curvature_rows
        alone, and share their state.
      config: settings of the row.
      epoch: its stage.
    """
    own = self._gradient(family, config, epoch)
    far = {"n_cg": CONVERGED, "curvature_rows": 0}
    cosines = [
      cosine(
        own.flat,
        self._gradient(family, config, epoch, solver=solver, **far).flat,
      )
      for solver in ("cg_gauss_newton", "cg")
    ]
    values = (float(own.residual), float(own.negative), *cosines)
    return dict(zip(_NAMES, values, strict=True))
