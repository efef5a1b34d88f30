"""Work directories, results, tables and figures; nothing here trains."""

from bidfcl_jax.report.evaluation_figure import Band, evaluation_curves
from bidfcl_jax.report.figures import cost_curves
from bidfcl_jax.report.names import SIMPLE_RIVALS, display_name, table_order
from bidfcl_jax.report.results import Result, collect, latest
from bidfcl_jax.report.tables import Setting, Table, summary
from bidfcl_jax.report.training_figure import training_curves
from bidfcl_jax.report.workdir import (
  WorkDir,
  claim,
  default_workdir,
  read_config,
  versions,
)
from bidfcl_jax.report.writers import (
  aligned,
  to_csv,
  to_latex,
  to_markdown,
  to_text,
)

__all__ = [
  "Band",
  "Result",
  "SIMPLE_RIVALS",
  "Setting",
  "Table",
  "WorkDir",
  "aligned",
  "claim",
  "collect",
  "cost_curves",
  "default_workdir",
  "display_name",
  "evaluation_curves",
  "latest",
  "read_config",
  "summary",
  "table_order",
  "to_csv",
  "to_latex",
  "to_markdown",
  "to_text",
  "training_curves",
  "versions",
]
