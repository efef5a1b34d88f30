r"""Times a batch against the same algorithm in plain PyTorch.

    python -m experiments.bench.peers --script=torch_bidfcl.py --python=python

The script is a PyTorch program that times TSM-SL ("tsm") and Algorithm 1 with
implicit differentiation ("bi_ppl", n_cg 50, k 5) at the paper's shapes and
writes `--json`; --python names an interpreter that has PyTorch. Each round runs
the script and then `bench.step`, both on one core and one thread; ratios are
taken within a round. Rows: TSM-SL, the letter mode (full Hessian, n_cg 50), and
Gauss-Newton with n_cg 50, which the script has not: it is compared with the
script's own Algorithm 1.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import flags

from experiments import guard
from experiments.bench.measure import REPEATS, median_ratio, publish

_SCRIPT = flags.DEFINE_string("script", None, "The program.", required=True)
_PYTHON = flags.DEFINE_string("python", sys.executable, "Its interpreter.")
_CORE = flags.DEFINE_integer("core", 0, "The core that both run on.", 0)

# Ours -> the script's.
_PAIRS = {
  "TSM-SL, paper_letter": "tsm",
  "paper_letter": "bi_ppl",
  "cg_gauss_newton 50": "bi_ppl",
}
_STEP = (
  "--shape=paper", "--recipes=paper_letter", "--solvers=cg_gauss_newton",
  "--n_cg=50", "--noquality", "--repeats=3", "--batches=5",
)  # fmt: skip
_PEER = ("--only", "bi_ppl", "--repeats", "3", "--n-cg", "50")


def run_json(command: list[str], path: Path) -> dict:
  """Runs a command that writes a JSON file and returns what it wrote.

  Raises:
    ChildProcessError: the command failed; with the end of what it said.
  """
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    raise ChildProcessError(
      f"{' '.join(command[:3])} ended with {done.returncode}: "
      f"{done.stderr[-400:]}"
    )
  return json.loads(path.read_text())


def one_round(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
  """Returns milliseconds a batch of (the script's rows, ours)."""
  path = folder / "peer.json"
  peer = run_json(
    [_PYTHON.value, _SCRIPT.value, *_PEER, f"--json={path}"], path
  )
  path = folder / "step.json"
  own = run_json(
    [sys.executable, "-m", "experiments.bench.step", *_STEP, f"--json={path}"],
    path,
  )
  return (
    {k: 1e3 * v for k, v in peer["seconds_per_obs_batch"].items()},
    {row["row"]: row["ms/batch"] for row in own["rows"]},
  )


def main() -> None:
  """Runs the rounds and prints the table."""
  if not Path(_SCRIPT.value).is_file():
    raise ValueError(f"--script={_SCRIPT.value}: no such file")
  cores = os.sched_getaffinity(0)
  if _CORE.value not in cores:
    raise ValueError(
      f"--core={_CORE.value}: this process may run on "
      + ", ".join(map(str, sorted(cores)))
    )
  os.environ["OMP_NUM_THREADS"] = "1"
  os.sched_setaffinity(0, {_CORE.value})
  with tempfile.TemporaryDirectory() as folder:
    found = [one_round(Path(folder)) for _ in range(REPEATS.value)]
  lines = []
  for ours, theirs in _PAIRS.items():
    peer = [times[theirs] for times, _ in found]
    own = [times[ours] for _, times in found]
    lines.append(
      {
        "row": ours,
        "ours, ms/batch": statistics.median(own),
        "script's row": theirs,
        "PyTorch, ms/batch": statistics.median(peer),
        "PyTorch / ours": median_ratio(peer, own),
      }
    )
  publish(f"The paper's shapes, one core, {REPEATS.value} rounds.", lines)


if __name__ == "__main__":
  guard.run(main)
