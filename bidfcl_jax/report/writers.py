"""Tables as text: Markdown, LaTeX, CSV and the terminal."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from bidfcl_jax.report.tables import Table

_LATEX = str.maketrans(
  {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
    "–": "--",
  }
)


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1):
  """Pads columns to one width: words to the left, numbers to the right.

  Args:
    rows: cells, the header among them.
    left: how many first columns hold words.

  Returns:
    The rows, as lists.
  """
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
    [
      cell.ljust(width) if place < left else cell.rjust(width)
      for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    for row in rows
  ]


def to_markdown(table: Table) -> str:
  """Returns the table in Markdown, columns aligned in the source too."""
  rows = [
    [cell.replace("|", "\\|") for cell in row]
    for row in (table.header, *table.cells)
  ]
  head, *body = aligned(rows)
  rule = [
    "-" * len(cell) if place == 0 else "-" * (len(cell) - 1) + ":"
    for place, cell in enumerate(head)
  ]
  lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]
  return "\n".join([table.caption, "", *lines]) + "\n"


def to_text(table: Table) -> str:
  """Returns the table for a terminal: columns aligned by spaces."""
  head, *body = aligned([list(row) for row in (table.header, *table.cells)])
  rule = ["-" * len(cell) for cell in head]
  lines = ["  ".join(row).rstrip() for row in (head, rule, *body)]
  return "\n".join([table.caption, "", *lines]) + "\n"


def to_latex(table: Table) -> str:
  """Returns a LaTeX table that needs no package beyond UTF-8 input."""
  lines = [
    " & ".join(cell.translate(_LATEX) for cell in row) + r" \\"
    for row in (table.header, *table.cells)
  ]
  columns = "l" + "r" * (len(table.header) - 1)
  return "\n".join(
    [
      r"\begin{table}",
      r"\centering",
      rf"\caption{{{table.caption.translate(_LATEX)}}}",
      rf"\begin{{tabular}}{{{columns}}}",
      r"\hline",
      lines[0],
      r"\hline",
      *lines[1:],
      r"\hline",
      r"\end{tabular}",
      r"\end{table}",
      "",
    ]
  )


def _bare(value: Any) -> Any:
  if isinstance(value, float) and not math.isfinite(value):
    return ""
  return value


def to_csv(table: Table) -> str:
  """Returns the bare numbers at full precision, empty where there is none."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(table.data[0])
  for row in table.data:
    writer.writerow([_bare(value) for value in row.values()])
  return text.getvalue()
