"""The direction of the imports: data flows one way."""

import ast
from pathlib import Path

import bidfcl_jax

ROOT = Path(bidfcl_jax.__file__).parent
ROOMS = (
  ("data",),
  ("models",),
  ("losses", "allocation"),
  ("evaluation",),
  ("bilevel",),
  ("methods",),
  ("training",),
  ("report",),
)
LEVEL = {room: k for k, rooms in enumerate(ROOMS) for room in rooms}


def imports(path):
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.ImportFrom) and node.module:
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)


def test_no_arrow_points_back():
  wrong = []
  for path in ROOT.rglob("*.py"):
    room = path.relative_to(ROOT).parts[0]
    for module in imports(path):
      parts = module.split(".")
      if parts[0] == "experiments":
        wrong.append(f"{path.name} imports {module}")
      if parts[0] != "bidfcl_jax" or len(parts) < 2:
        continue
      target = parts[1]
      if target not in LEVEL or target == room:
        continue
      if room not in LEVEL:
        wrong.append(f"{path.name} at the root imports {module}")
      elif LEVEL[target] > LEVEL[room]:
        wrong.append(f"{room}/{path.name} imports {module}")
      elif room == "losses" and target == "allocation":
        wrong.append(f"losses/{path.name} imports {module}")
  assert not wrong


def test_every_room_is_known():
  rooms = {p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()}
  assert rooms == set(LEVEL)
