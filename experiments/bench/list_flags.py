"""How timing scripts read flags that are lists."""

from collections.abc import Collection

from absl import flags


def whole_numbers(flag: flags.FlagHolder, least: int = 1) -> list[int]:
  """Reads a list flag.

  Raises:
    ValueError: a word that is no whole number, or a smaller one than `least`.
  """
  for word in flag.value:
    if not word.isdecimal() or int(word) < least:
      raise ValueError(
        f"--{flag.name}={word}: give whole numbers of at least {least}, "
        "separated by commas"
      )
  return [int(word) for word in flag.value]


def refuse_unknown(flag: flags.FlagHolder, known: Collection[str]) -> None:
  """Raises ValueError for a word of a list flag that is not among `known`."""
  for word in flag.value:
    if word not in known:
      raise ValueError(
        f"--{flag.name}={word} is unknown; known: {'; '.join(known)}"
      )
