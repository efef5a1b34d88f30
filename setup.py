"""Packaging of bidfcl_jax; tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
  r'^__version__ = "(.+)"$',
  (ROOT / "bidfcl_jax" / "__init__.py").read_text(encoding="utf-8"),
  re.MULTILINE,
).group(1)

setup(
  name="bidfcl_jax",
  version=VERSION,
  description="Bi-level decision-focused causal learning for budget "
  "allocation, in JAX",
  long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  packages=find_packages(include=["bidfcl_jax*", "experiments*"]),
  python_requires=">=3.11",
  # One line of reason for each stands in BUILD_NOTES.md.
  install_requires=[
    "jax>=0.10.2",
    "jaxlib>=0.10.2",
    "flax>=0.12",
    "optax>=0.2.6",
    "chex>=0.1.89",
    "numpy>=2.0",
    "absl-py>=2.1",
    "scipy>=1.13",
    "orbax-checkpoint>=0.11.30",
    "ml_collections>=1.0.0",
    "polars>=1.20",
    "matplotlib>=3.9",
    "tqdm>=4.66",
  ],
  extras_require={
    "forest": ["econml>=0.16"],
    "dev": [
      "pytest>=8.0",
      "pytest-xdist>=3.6",
      "hypothesis>=6.100",
      "ruff>=0.9",
    ],
  },
)
