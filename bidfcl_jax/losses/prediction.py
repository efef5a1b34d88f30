"""Prediction losses in scaled outcomes: factual and with pseudo-labels.

Every lower level of the project is a weighted least-squares problem over cells
(i, j) of both outcomes, L_PL = sum of squared residuals with

  residual_ij = sqrt(w_i / sum w) * s_ij * (F_ij - y_ij)                (eq. 9)

so one description, `Cells(label y, scale s)`, serves the loss, its Gauss-Newton
matrix 2 J'J and its mixed derivatives. The mean is over rows, the sum over
cells; there is no factor 1/2.

The pseudo-label of a counterfactual cell is w * teacher + (1 - w) * target. Its
own target part can be read in three ways, each the gradient of a loss:

  "frozen_copy"    the target part is a constant copy: s = 1,
                   y = w teacher + (1 - w) F_theta0 (Algorithm 1, literally)
  "stop_gradient"  it follows theta but is not differentiated: s = sqrt(w),
                   y = teacher
  "full"           it is differentiated: s = w, y = teacher

Two other bridges use the same description: `weighted_cells` (no pseudo-labels,
a weight per observed outcome) and `additive_cells` (a correction of the
teacher's labels).
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from bidfcl_jax.losses.value import received, safe_ratio, weighted_mean
from bidfcl_jax.types import Array, Outcomes, Samples

LABELS = ("frozen_copy", "stop_gradient", "full")


@struct.dataclass
class Cells:
  """Labels y and scales s of all cells, Outcomes `[n, M]` each."""

  label: Outcomes
  scale: Outcomes


def factual_loss(
  predicted: Outcomes, samples: Samples, *, learn_cost: bool = True
) -> jax.Array:
  """Mean over rows of (F^r_t - r)^2 + (F^c_t - c)^2.

  Args:
    predicted: `[n, M]`, scaled units.
    samples: rows in the same units; weight 0 leaves a row out.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Scalar; 0 where all weights are 0.
  """
  chex.assert_rank([predicted.revenue, predicted.cost], 2)
  chex.assert_rank([samples.revenue, samples.cost], 1)
  error = (received(predicted.revenue, samples.arm) - samples.revenue) ** 2
  if learn_cost:
    error += (received(predicted.cost, samples.arm) - samples.cost) ** 2
  return weighted_mean(error, samples.weight)


def bridge_cells(
  gates: Outcomes,
  teacher: Outcomes,
  samples: Samples,
  *,
  labels: str,
  base: Outcomes | None = None,
  counterfactual_weight: float = 1.0,
  learn_cost: bool = True,
) -> Cells:
  """Builds the cells of eq. 9 on OBS rows.

  Args:
    gates: w in (0, 1), `[n, M]`, of the bridge.
    teacher: F_psi, `[n, M]`, scaled units.
    samples: OBS rows, scaled units.
    labels: one of LABELS (this file's first paragraph).
    base: F_theta0 of the copied target, `[n, M]`; "frozen_copy" only.
    counterfactual_weight: weight of a counterfactual cell's square.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Cells; the factual cell of each row has scale 1 and its observed outcome.

  Raises:
    ValueError: unknown `labels`, or "frozen_copy" without `base`.
  """
  if labels not in LABELS:
    raise ValueError(f"labels {labels!r} is not one of {LABELS}")
  if labels == "frozen_copy" and base is None:
    raise ValueError("labels 'frozen_copy' needs base: F of the copied target")
  arms = teacher.revenue.shape[-1]
  factual = jax.nn.one_hot(samples.arm, arms, dtype=bool)
  balance = counterfactual_weight**0.5

  def one(gate, taught, observed, copied):
    if labels == "frozen_copy":
      scale = jnp.ones_like(gate)
      label = gate * taught + (1 - gate) * copied
    else:
      # The root's slope is infinite at 0, where a saturated sigmoid can end.
      root = jnp.sqrt(jnp.maximum(gate, 1e-12))
      scale = gate if labels == "full" else root
      label = taught
    label = jnp.where(factual, observed[:, None], label)
    return label, jnp.where(factual, 1.0, balance * scale)

  base = teacher if base is None else base
  revenue, revenue_scale = one(
    gates.revenue, teacher.revenue, samples.revenue, base.revenue
  )
  cost, cost_scale = one(gates.cost, teacher.cost, samples.cost, base.cost)
  if not learn_cost:
    cost_scale = jnp.zeros_like(cost_scale)
  return Cells(Outcomes(revenue, cost), Outcomes(revenue_scale, cost_scale))


def weighted_cells(
  weights: Outcomes, samples: Samples, *, learn_cost: bool = True
) -> Cells:
  """Builds the factual cells of the reweighting variant (Table 3, row 3).

  sum_i w^r_i (F^r_t - r)^2 + w^c_i (F^c_t - c)^2 with w^r_i the row's weight
  at its own arm, divided by the batch's mean so that a bridge cannot merely
  rescale the step size; there are no pseudo-labels.

  Args:
    weights: positive, `[n, M]`, of the bridge.
    samples: OBS rows, scaled units.
    learn_cost: False where the arm's cost is known: its cells count 0.

  Returns:
    Cells; constant weights give factual_loss.
  """
  arms = weights.revenue.shape[-1]
  factual = jax.nn.one_hot(samples.arm, arms, dtype=bool)

  def one(weight, observed):
    own = received(weight, samples.arm)
    own = safe_ratio(own, weighted_mean(own, samples.weight))
    scale = jnp.sqrt(jnp.maximum(own, 1e-12))[:, None]
    label = jnp.broadcast_to(observed[:, None], weight.shape)
    return label, jnp.where(factual, scale, 0.0)

  revenue, revenue_scale = one(weights.revenue, samples.revenue)
  cost, cost_scale = one(weights.cost, samples.cost)
  if not learn_cost:
    cost_scale = jnp.zeros_like(cost_scale)
  return Cells(Outcomes(revenue, cost), Outcomes(revenue_scale, cost_scale))


def teacher_cells(teacher: Outcomes, *, learn_cost: bool = True) -> Cells:
  """Builds cells whose labels are the teacher's, factual ones included (ours).

  The rows lend their covariates, not their outcomes.

  Args:
    teacher: `[n, M]`, scaled units.
    learn_cost: False where the arm's cost is known: its cells count 0.
  """
  one = jnp.ones_like(teacher.revenue)
  return Cells(teacher, Outcomes(one, one if learn_cost else 0 * one))


def additive_cells(
  correction: Outcomes, teacher: Outcomes, *, learn_cost: bool = True
) -> Cells:
  """Builds cells with labels teacher_ij + A_phi(x_i)_j; see teacher_cells.

  Args:
    correction: A_phi, `[n, M]`, scaled units.
    teacher: `[n, M]`, scaled units.
    learn_cost: False where the arm's cost is known: its cells count 0.
  """
  label = jax.tree.map(jnp.add, teacher, correction)
  return teacher_cells(label, learn_cost=learn_cost)


def cell_residuals(
  predicted: Outcomes, cells: Cells, weight: Array
) -> jax.Array:
  """Returns `[2, n, M]` residuals whose squares add up to L_PL.

  Args:
    predicted: `[n, M]`, scaled units.
    cells: labels and scales.
    weight: `[n]`, 0 for padding.
  """
  chex.assert_equal_shape([predicted.revenue, cells.label.revenue])
  row = jnp.sqrt(safe_ratio(weight, jnp.sum(weight)))[:, None]
  return jnp.stack(
    [
      row * cells.scale.revenue * (predicted.revenue - cells.label.revenue),
      row * cells.scale.cost * (predicted.cost - cells.label.cost),
    ]
  )


def cell_loss(predicted: Outcomes, cells: Cells, weight: Array) -> jax.Array:
  """Returns L_PL of eq. 9: the sum of the squared cell residuals."""
  return jnp.sum(cell_residuals(predicted, cells, weight) ** 2)
