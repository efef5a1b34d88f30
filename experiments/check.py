r"""The data report: what a manager should read before money is spent.

  python -m experiments.check
  python -m experiments.check --data=hillstrom --data_path=hillstrom.csv.gz
  python -m experiments.check --data=social_pressure \
    --data_path=social_pressure.csv.gz --arm_costs=0,1,2,3,5

Trains nothing. Prints a verdict for each check (OK, LOOK, STOP) and writes
report.md, report.json and report.png into a folder: arms by part, sample-ratio
test, balance of the RCT, overlap of OBS, rows and households in two parts, OBS
against RCT, and the least difference in EOM that the RCT can show.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from bidfcl_jax import data, methods, report
from bidfcl_jax.files import write_atomic, write_json
from bidfcl_jax.keys import stream
from bidfcl_jax.report.data_figure import data_figure
from bidfcl_jax.report.data_report import Measured, findings, measure, overall
from experiments import common, guard

SHARES = flags.DEFINE_list(
  "shares",
  None,
  "Planned share of each arm in the RCT, control first, or the word equal; "
  "default: the design of the built-in data, none for your own table.",
)
DISAGREE = flags.DEFINE_float(
  "disagree",
  0.3,
  "Power: share of individuals to whom two policies give different arms.",
  lower_bound=0.001,
  upper_bound=1.0,
)
SEED = flags.DEFINE_integer(
  "seed", 0, "Seed of the study, as in --first_seed of train.", lower_bound=0
)
OUTPUT = flags.DEFINE_string(
  "output", None, "Folder of the report; default: a new one under runs/."
)
OVERWRITE = flags.DEFINE_bool(
  "overwrite", False, "Replace the report that stands in --output."
)

# The trials' own designs: social pressure wrote to 20,000 households with
# each mailing and kept 100,000 as the control.
_DESIGNS = {
  "simulated": ["equal"],
  "hillstrom": ["equal"],
  "social_pressure": [5 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9],
}
_FILES = ("report.png", "report.md", "report.json")


def _shares(arms: int) -> np.ndarray | None:
  words = SHARES.value or _DESIGNS.get(common.DATA.value)
  if words is None:
    return None
  if words == ["equal"]:
    return np.full(arms, 1 / arms)
  try:
    return data.declared_propensity([float(word) for word in words], arms)
  except ValueError as error:
    raise ValueError(f"--shares={','.join(map(str, words))}: {error}") from None


def _refuse_taken(folder: Path) -> None:
  if folder.exists() and not folder.is_dir():
    raise ValueError(f"--output={folder} is a file; give a folder")
  if folder.is_dir() and any(folder.iterdir()) and not OVERWRITE.value:
    raise ValueError(
      f"--output={folder} is not empty; give --overwrite to replace its "
      "report, or another folder"
    )


def _tables(m: Measured) -> list[report.Table]:
  counts = report.Table(
    "Rows by part and arm.",
    ("Part", *m.arm_names),
    tuple(
      (part, *(f"{n:,} ({s:.1%})" for n, s in zip(*row, strict=True)))
      for part, *row in zip(
        m.counts.parts, m.counts.counts, m.counts.shares, strict=True
      )
    ),
    (),
  )
  o = m.overlap
  overlap = report.Table(
    f"Estimated propensities of {len(o.arm):,} OBS rows (logistic, "
    "cross-fitted; true ones may be smaller). Effective rows: (sum w)^2 / "
    "sum w^2 with w = 1 / propensity.",
    ("Arm", "smallest", "under 0.01", "under 0.05", "rows", "effective rows"),
    tuple(
      (
        name, f"{o.smallest[j]:.2g}", f"{o.below[0.01][j]:.2%}",
        f"{o.below[0.05][j]:.2%}", f"{o.rows[j]:,}", f"{o.effective[j]:,.0f}",
      )
      for j, name in enumerate(m.arm_names)
    ),
    (),
  )  # fmt: skip
  value = m.noise.value if m.noise.value > 0 else np.nan
  power = report.Table(
    "Least difference in EOM that is found four times in five (two-sided 5 %) "
    f"between policies that disagree on {m.disagree:.0%} of individuals, at "
    f"budget {m.budget:.6g} per capita; EOM of a random arm {value:.4g}.",
    ("Part", "rows", "se of EOM, %", "detectable", "detectable, %"),
    tuple(
      (
        part, f"{n:,}", f"{100 * m.noise.sd / np.sqrt(n) / value:.2g}",
        f"{m.detectable(part):.4g}", f"{100 * m.detectable(part) / value:.2g}",
      )
      for part, n in m.rows.items()
    ),
    (),
  )  # fmt: skip
  return [counts, overlap, power]


def _record(m: Measured, found) -> dict:
  """Returns report.json: all numbers but those of single rows."""
  record = m._asdict()
  for name in ("counts", "ratio", "balance", "noise"):
    part = record[name]
    record[name] = None if part is None else part._asdict()
  record["overlap"] = {
    k: v
    for k, v in m.overlap._asdict().items()
    if k not in ("propensity", "arm")
  }
  record["repeats"] = [r._asdict() for r in m.repeats]
  record["households"] = [[*pair, n] for pair, n in m.households.items()]
  record["power"] = {
    "detectable": {part: m.detectable(part) for part in m.rows},
    "rows_for_1_percent": m.rows_needed() if m.noise.value > 0 else None,
  }
  record["findings"] = [f._asdict() for f in found]
  record["verdict"] = overall(found)
  record["data"] = common.DATA.value
  record["seed"] = SEED.value
  record["versions"] = report.versions()
  return record


def _write(folder: Path, m: Measured, found) -> None:
  title = f"Data report: {common.DATA.value}, seed {SEED.value}"
  data_figure(
    folder / _FILES[0],
    counts=m.counts,
    balance=m.balance,
    overlap=m.overlap,
    noise=m.noise,
    rows=m.rows,
    disagree=m.disagree,
    arm_names=m.arm_names,
    feature_names=m.feature_names,
    title=title,
  )
  lines = [f"# {title}", "", f"Verdict: {overall(found)}", ""]
  lines += [f"* **{f.verdict}** {f.check}: {f.text}" for f in found]
  lines += ["", *map(report.to_markdown, _tables(m))]
  lines.append(f"![The four panels]({_FILES[0]})")
  write_atomic(folder / _FILES[1], "\n".join(lines) + "\n")
  write_json(folder / _FILES[2], _record(m, found))


def main() -> None:
  """Runs the command."""
  config = common.resolved_config()
  if OUTPUT.value is not None:
    _refuse_taken(Path(OUTPUT.value))
  study = common.load_study(config, SEED.value)
  measured = measure(
    study,
    stream(jax.random.key(SEED.value), "check"),
    budget=methods.study_budget(config, study),
    shares=_shares(study.arms),
    disagree=DISAGREE.value,
  )
  found = findings(measured)
  text = "\n".join(f"{f.verdict:<6}{f.check:<17}{f.text}" for f in found)
  folder = Path(
    OUTPUT.value or report.default_workdir(f"check-{common.DATA.value}")
  )
  _write(folder, measured, found)
  print(f"{overall(found)}: {common.DATA.value}, seed {SEED.value}\n\n{text}\n")
  print("\n".join(map(report.to_text, _tables(measured))))
  print(f"report and picture: {folder}")


if __name__ == "__main__":
  guard.run(main)
