r"""How wrong is a hypergradient? Solvers against the dense reference.

  python -m experiments.hypergradient_error

On a small network (a few hundred weights) the lower level's Hessian and
Gauss-Newton matrix fit in memory. After a warm start on a simulated world the
hypergradient of the policy loss is computed, in float64, by each solver,
damping and number of iterations, and compared with the dense solve of the same
damped matrix: relative residual, whether the cheap curvature flag was raised,
relative error and cosine. The last column is the cosine to the dense solve of
the *undamped* Gauss-Newton matrix (pseudo-inverse): what damping itself costs.

Solvers, dampings and iterations are the table's own, and so are the price of a
unit of cost, 1.4 units of revenue, and the temperature of the policy, 3 in
units of revenue: the policy loss is taken at that price, not at a budget.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.flatten_util import ravel_pytree

from bidfcl_jax import config as config_lib
from bidfcl_jax import data, methods, training
from bidfcl_jax.bilevel import hypergradient, mixed_product
from bidfcl_jax.config import Config
from bidfcl_jax.keys import stream
from bidfcl_jax.losses import cell_loss, cell_residuals, policy_loss
from bidfcl_jax.methods.bidfcl import make_parts
from bidfcl_jax.methods.bridge_steps import make_cells
from bidfcl_jax.methods.method import to_money, to_scaled
from experiments import common, guard

BATCH = flags.DEFINE_integer("batch", 1000, "OBS rows of the lower level.", 1)
HIDDEN = flags.DEFINE_integer("hidden", 8, "Units of the one hidden layer.", 1)
SEED = flags.DEFINE_integer("seed", 0, "World and initial weights.", 0)

SOLVERS = ("cg_gauss_newton", "cg", "cg_normal", "identity")
DAMPINGS = (0.0, 0.01, 0.1)
ITERATIONS = (5, 10, 20, 50, 290)
PRICE = 1.4
TEMPERATURE = 3.0

# Settings that are not read, by the beginning of their names.
_OWN = {
  "network.hidden": "give --hidden",
  "bilevel.solver": "the table has several",
  "bilevel.damping": "the table has several",
  "bilevel.n_cg": "the table has several",
  "bilevel.max_residual": "no solve is refused",
  "decision.": "price and temperature are fixed",
}


def double(tree):
  """Returns the tree with its floats in float64."""

  def one(leaf):
    real = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jnp.asarray(leaf, np.float64) if real else leaf

  return jax.tree.map(one, tree)


def problem(config: Config, seed: int):
  """Returns (lower, upper, residuals, theta, phi) after the warm start."""
  study = data.simulate(jax.random.key(seed), config.simulator)
  method = methods.make("Bi-DFCL-PPL", config)
  warm = method._replace(stages=method.stages[:-1])
  state, _ = training.fit(
    warm, study, stream(jax.random.key(seed), "fit"), config
  )
  parts = make_parts(config, "policy")
  stage = method.stages[-1]
  state = stage.enter(jax.random.key(seed), state, study)
  aux = stage.fixed(state, study)
  scale = double(state.scale)
  rows = double(
    to_scaled(jax.tree.map(lambda x: x[: BATCH.value], study.obs), scale)
  )
  taught = double(jax.tree.map(lambda x: x[: BATCH.value], aux.taught))
  rct = double(study.rct_train)

  def predicted(theta, phi):
    cells = make_cells(parts, phi, rows, taught, scale)
    return parts.target.apply(theta, rows.features), cells

  def lower(theta, phi):
    return cell_loss(*predicted(theta, phi), rows.weight)

  def residuals(theta, phi):
    return cell_residuals(*predicted(theta, phi), rows.weight)

  def upper(theta):
    outcomes = to_money(parts.target.apply(theta, rct.features), scale)
    return policy_loss(
      outcomes,
      rct,
      jnp.asarray(study.propensity),
      price=PRICE,
      temperature=TEMPERATURE,
      reward_price=PRICE,
    )

  return lower, upper, residuals, double(state.target), double(state.bridge)


def dense_matrices(lower, residuals, theta, phi):
  """Returns (Hessian, Gauss-Newton matrix) `[p, p]`, float64."""
  flat, back = ravel_pytree(theta)
  hessian = jax.hessian(lambda x: lower(back(x), phi))(flat)
  slope = jax.jacobian(lambda x: residuals(back(x), phi).ravel())(flat)
  return np.asarray(hessian), np.asarray(2 * slope.T @ slope)


def mixed(lower, theta, phi, v) -> np.ndarray:
  """Returns - d/dphi <v, grad_theta lower>, flat."""
  return np.asarray(ravel_pytree(mixed_product(lower, theta, phi, v))[0])


def table(config: Config, seed: int) -> list[dict]:
  """Returns one record a solver, damping and number of iterations."""
  lower, upper, residuals, theta, phi = problem(config, seed)
  hessian, gauss_newton = dense_matrices(lower, residuals, theta, phi)
  g, back = ravel_pytree(jax.grad(upper)(theta))
  undamped = mixed(
    lower, theta, phi, back(np.linalg.lstsq(gauss_newton, g, rcond=1e-10)[0])
  )
  eigenvalues = np.linalg.eigvalsh(hessian)
  print(
    f"{len(g)} weights, Hessian from {eigenvalues[0]:.3g} to "
    f"{eigenvalues[-1]:.3g} ({(eigenvalues < 0).mean():.0%} negative), "
    f"Gauss-Newton up to {np.linalg.eigvalsh(gauss_newton)[-1]:.3g}\n"
  )
  lines = []
  for solver in SOLVERS:
    matrix = gauss_newton if solver == "cg_gauss_newton" else hessian
    once = solver == "identity"
    # One compilation a solver serves all dampings and counts of iterations.
    solve = jax.jit(
      lambda theta, phi, damping, maxiter, solver=solver: hypergradient(
        lower,
        upper,
        theta,
        phi,
        residuals=residuals,
        solver=solver,
        damping=damping,
        maxiter=maxiter,
        max_residual=np.inf,
      )
    )
    for damping in DAMPINGS[:1] if once else DAMPINGS:
      full = matrix + damping * np.eye(len(g))
      v = np.linalg.lstsq(full, g, rcond=1e-10)[0]
      reference = mixed(lower, theta, phi, back(v))
      for maxiter in (1,) if once else ITERATIONS:
        gradient, info = solve(theta, phi, damping, maxiter)
        own = np.asarray(ravel_pytree(gradient)[0])
        error = np.linalg.norm(own - reference) / np.linalg.norm(reference)
        lines.append(
          {
            "solver": solver,
            "damping": damping,
            "n_cg": maxiter,
            "residual": float(info.residual),
            "flag": bool(info.negative_curvature),
            "error": float(error),
            "cosine": _cosine(own, reference),
            "undamped": _cosine(own, undamped),
          }
        )
  return lines


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
  return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def markdown(lines: list[dict]) -> str:
  """Returns the records as a Markdown table."""
  text = [
    "| solver | damping | n_cg | residual | flag | error "
    "| cosine | cosine, undamped GN |",
    "|---|---:|---:|---:|---|---:|---:|---:|",
  ]
  for line in lines:
    text.append(
      f"| {line['solver']} | {line['damping']:g} | {line['n_cg']} | "
      f"{line['residual']:.2g} | {'yes' if line['flag'] else 'no'} | "
      f"{line['error']:.2g} | {line['cosine']:.4f} | {line['undamped']:.4f} |"
    )
  return "\n".join(text)


def settings() -> Config:
  """Returns the settings of the run.

  Raises:
    ValueError: a flag that would not be read, or --batch beyond the OBS rows.
  """
  config = common.resolved_config()
  common.require_simulated("this table is made")
  if common.BUDGET.value is not None:
    raise ValueError(f"give no --budget: the price is {PRICE}")
  for name in common.given_overrides():
    for own in filter(name.startswith, _OWN):
      raise ValueError(f"--config.{name} is not read: {_OWN[own]}")
  if BATCH.value > config.simulator.n_obs:
    raise ValueError(
      f"--batch={BATCH.value}: the world has {config.simulator.n_obs} OBS rows"
    )
  return config_lib.with_options(config, {"network.hidden": (HIDDEN.value,)})


def main() -> None:
  """Runs the command."""
  config = settings()
  with jax.enable_x64(True):
    print(markdown(table(config, SEED.value)))


if __name__ == "__main__":
  guard.run(main)
