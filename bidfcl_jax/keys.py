"""Named random streams: one key a purpose, the same on every machine."""

import zlib

import jax
import numpy as np


def stream(key: jax.Array, name: str) -> jax.Array:
  """Returns the key of a named stream under `key`."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def host_generator(key: jax.Array) -> np.random.Generator:
  """Returns a NumPy generator that is a pure function of `key`.

  For work that belongs on the host: XLA's sort on a CPU, and with it
  `jax.random.permutation`, is over ten times slower than NumPy's.
  """
  words = np.asarray(jax.random.key_data(key)).astype(np.uint32).ravel()
  return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
