import csv

from bidfcl_jax.report import writers
from bidfcl_jax.report.tables import Table

TABLE = Table(
  "5 % of A_B & C.",
  ("Method", "EOM", "p"),
  (("A_B & C", "1.0277 ± 0.0024", "< .001"), ("x|y", "–", "–")),
  (
    {"method": "A_B & C", "mean": 1 / 3, "p": 1e-5, "wins": 3},
    {"method": "x,y", "mean": float("nan"), "p": float("nan"), "wins": 0},
  ),
)


def test_markdown_columns_are_aligned():
  caption, blank, *lines = writers.to_markdown(TABLE).splitlines()
  assert caption == TABLE.caption and blank == ""
  assert lines == [
    "| Method  |             EOM |      p |",
    "| ------- | --------------: | -----: |",
    "| A_B & C | 1.0277 ± 0.0024 | < .001 |",
    r"| x\|y    |               – |      – |",
  ]


def test_text_columns_are_aligned():
  assert writers.to_text(TABLE).splitlines()[2:] == [
    "Method               EOM       p",
    "-------  ---------------  ------",
    "A_B & C  1.0277 ± 0.0024  < .001",
    "x|y                    –       –",
  ]


def test_latex_escapes():
  lines = writers.to_latex(TABLE).splitlines()
  assert r"\caption{5 \% of A\_B \& C.}" in lines
  assert r"\begin{tabular}{lrr}" in lines
  assert r"A\_B \& C & 1.0277 $\pm$ 0.0024 & $<$ .001 \\" in lines
  assert r"x|y & -- & -- \\" in lines
  hostile = Table("", ("a\\b{c}$#^~",), (("1",),), ())
  assert (
    r"a\textbackslash{}b\{c\}\$\#\textasciicircum{}\textasciitilde{} \\"
    in writers.to_latex(hostile)
  )


def test_csv_has_bare_numbers_at_full_precision():
  rows = list(csv.DictReader(writers.to_csv(TABLE).splitlines()))
  assert float(rows[0]["mean"]) == 1 / 3 and rows[0]["wins"] == "3"
  assert rows[1] == {"method": "x,y", "mean": "", "p": "", "wins": "0"}
