"""What the timing scripts share: rounds, FLOPs, the machine's limit, output.

Everything is timed in rounds, each function once a round, and compared within
its round, so that a slow spell of the machine hits all alike. Wall time and
CPU time are both kept: where other programs share the cores the latter is the
steadier of the two.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags

from bidfcl_jax.report import Table, to_markdown

REPEATS = flags.DEFINE_integer("repeats", 5, "rounds", 1)
JSON = flags.DEFINE_string("json", None, "File of the figures; None: printed.")


class Seconds(NamedTuple):
  """Seconds of one function, one value a round."""

  wall: list[float]
  cpu: list[float]


def keeping(
  runs: dict[str, Callable[[], Any]],
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
  """Returns (the functions, the last result of each as they are called)."""
  results = {}

  def keep(name, run):
    def call():
      results[name] = run()
      return results[name]

    return call

  return {name: keep(name, run) for name, run in runs.items()}, results


def rounds(
  runs: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, Seconds], dict[str, float]]:
  """Times functions in turns, after a call of each that compiles and warms up.

  Args:
    runs: name -> function; its result is waited for.
    repeats: rounds.

  Returns:
    (name -> Seconds, name -> seconds of the first call).
  """
  first = {}
  for name, run in runs.items():
    begun = time.perf_counter()
    jax.block_until_ready(run())
    first[name] = time.perf_counter() - begun
  seconds = {name: Seconds([], []) for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      wall, cpu = time.perf_counter(), time.process_time()
      jax.block_until_ready(run())
      seconds[name].wall.append(time.perf_counter() - wall)
      seconds[name].cpu.append(time.process_time() - cpu)
  return seconds, first


def median_ratio(above: list[float], below: list[float]) -> float:
  """Returns the median over rounds of above / below."""
  return statistics.median(a / b for a, b in zip(above, below, strict=True))


def matmul_flops(run: Callable, *args, trips: int = 1) -> int:
  """Counts 2 m n k of every matrix product of a function, loops included.

  XLA's own cost analysis counts the body of a loop once, whatever its trips.

  Args:
    run: what is traced.
    *args: its arguments.
    trips: of every `while` loop (conjugate gradient; scans know theirs).
  """
  return _count(jax.make_jaxpr(run)(*args).jaxpr, trips)


def _count(jaxpr, trips: int) -> int:
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      inner = math.prod(shape[axis] for axis in contracted)
      total += 2 * inner * math.prod(equation.outvars[0].aval.shape)
    if name == "custom_linear_solve":
      # It carries its own transpose and check along; only the solve runs.
      params = {"solve": params["jaxprs"].solve}
    times = {"scan": params.get("length"), "while": trips}.get(name, 1)
    for value in params.values():
      for part in value if isinstance(value, tuple | list) else (value,):
        part = getattr(part, "jaxpr", part)
        if hasattr(part, "eqns"):
          total += times * _count(part, trips)
  return total


def matmul(size: int) -> tuple[Callable[[], jax.Array], int]:
  """Returns (a square float32 product to time, its FLOPs)."""
  a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32)
  product = jax.jit(lambda x: x @ x)
  return lambda: product(a), 2 * size**3


def machine() -> dict[str, Any]:
  """Returns what the figures depend on: device, cores, load, versions."""
  device = jax.devices()[0]
  return {
    "device": f"{device.platform}: {device.device_kind}",
    "processor": platform.processor() or platform.machine(),
    "cores": len(os.sched_getaffinity(0)),
    "load": [round(x, 1) for x in os.getloadavg()],
    "jax": jax.__version__,
  }


def _text(value: Any) -> str:
  if isinstance(value, float):
    return "–" if math.isnan(value) else f"{value:.3g}"
  return str(value)


def publish(caption: str, rows: list[dict[str, Any]]) -> None:
  """Prints rows as a Markdown table; rows and machine go to --json.

  Args:
    caption: what was measured.
    rows: the same keys in every row.
  """
  about = machine()
  header = tuple(rows[0])
  cells = [tuple(_text(row[name]) for name in header) for row in rows]
  words = f"{caption} {about['device']}, {about['cores']} core(s), load "
  caption = words + f"{about['load'][0]}, JAX {about['jax']}."
  print(to_markdown(Table(caption, header, cells, rows)))
  text = json.dumps({"machine": about, "rows": rows})
  if JSON.value is None:
    print(text)
  else:
    Path(JSON.value).write_text(text + "\n")
