r"""Puts a published data set into a folder, checked and unpacked.

  python -m experiments.download hillstrom
  python -m experiments.download criteo --source=criteo.csv.gz \
    --cache_folder=data
  python -m experiments.download lazada --source=descn.zip

Names: criteo, hillstrom, social_pressure, mt_lift, lazada. Without --source the
publisher's address is tried where there is one. A copy of your own (a file or
an address; plain, gzip or zip) goes the same way: its fingerprint is compared
with the published one where that is known, and it appears in the folder whole
or not at all.
"""

import gzip
import hashlib
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from absl import flags
from tqdm import tqdm

from bidfcl_jax.data import criteo, hillstrom, lazada, social_pressure
from bidfcl_jax.data.parsing import file_digest
from bidfcl_jax.files import replacing
from experiments import guard
from experiments.data_flags import CACHE_FOLDER

SOURCE = flags.DEFINE_list(
  "source",
  None,
  "Files or addresses that hold the data set; default: the publisher's.",
)

_BLOCK = 1 << 20
_SECONDS = 60
_CRITEO = "https://huggingface.co/datasets/criteo/criteo-uplift/resolve/main/"
_HILLSTROM = (
  "http://www.minethatdata.com/Kevin_Hillstrom_MineThatData_E-MailAnalytics_"
  "DataMiningChallenge_2008.03.20.csv"
)


class Wanted(NamedTuple):
  """One file of a data set.

  Attributes:
    name: of the unpacked file.
    digest: (kind, hex) of the unpacked content, or None.
    packed: (kind, hex) of the publisher's gzip file, or None.
    address: where the publisher keeps it, or None.
  """

  name: str
  digest: tuple[str, str] | None = None
  packed: tuple[str, str] | None = None
  address: str | None = None


class DataSet(NamedTuple):
  """Files, where to ask for them, and the flags that read them."""

  files: tuple[Wanted, ...]
  page: str
  flags: str


DATA_SETS = {
  "criteo": DataSet(
    (
      Wanted(
        "criteo-research-uplift-v2.1.csv",
        packed=("sha256", criteo.SHA256),
        address=_CRITEO + "criteo-research-uplift-v2.1.csv.gz",
      ),
    ),
    "https://ailab.criteo.com/criteo-uplift-prediction-dataset/",
    "--data_path={0}",
  ),
  "hillstrom": DataSet(
    (
      Wanted(
        "hillstrom.csv",
        digest=("sha256", hillstrom.SHA256),
        address=_HILLSTROM,
      ),
    ),
    "https://blog.minethatdata.com (the challenge of 20 March 2008)",
    "--data_path={0}",
  ),
  "social_pressure": DataSet(
    (Wanted("social_pressure.csv", ("sha256", social_pressure.SHA256)),),
    "https://isps.yale.edu/research/data (Gerber, Green and Larimer, 2008)",
    "--data_path={0} --arm_costs=0,1,2,3,5",
  ),
  "mt_lift": DataSet(
    (Wanted("train.csv"), Wanted("test.csv")),
    "https://github.com/MTDJDSP/MT-LIFT",
    "--data_path={0} --test_path={1}",
  ),
  "lazada": DataSet(
    (
      Wanted("full_trainset.csv", ("md5", lazada.MD5["train"])),
      Wanted("full_testset.csv", ("md5", lazada.MD5["test"])),
    ),
    "https://github.com/kailiang-zhong/DESCN",
    "--data_path={0} --test_path={1}",
  ),
}


def install(name: str, sources: list[str] | None, folder: Path) -> list[Path]:
  """Puts the files of a data set into folder, and prints what was checked.

  Args:
    name: one of DATA_SETS.
    sources: files or addresses; None for the publisher's.
    folder: made if need be.

  Returns:
    The files' paths, in the order of the data set.

  Raises:
    ValueError: an unknown name, a source that cannot be had or is damaged, a
      fingerprint that differs, or a file that no source holds.
  """
  if name not in DATA_SETS:
    raise ValueError(f"{name!r} is not one of {', '.join(DATA_SETS)}")
  known = DATA_SETS[name]
  if sources is None:
    sources = [file.address for file in known.files if file.address]
    if len(sources) < len(known.files):
      raise ValueError(
        f"{name} has no address that a command could take it from; get it by "
        f"hand, starting from {known.page}, then give --source=FILE"
      )
  folder.mkdir(parents=True, exist_ok=True)
  found = {}
  for source in sources:
    with _at_hand(source, folder, known.page) as path:
      found |= _unpack(path, Path(_base_name(source)), known.files, folder)
  missing = [file.name for file in known.files if file.name not in found]
  if missing:
    raise ValueError(
      f"no source holds {', '.join(missing)} of {name}; give --source with "
      "each file of the data set under the publisher's name, or their zip file"
    )
  return [found[file.name] for file in known.files]


def _is_address(source: str) -> bool:
  return urllib.parse.urlsplit(source).scheme in ("http", "https", "ftp")


def _base_name(source: str) -> str:
  if _is_address(source):
    source = urllib.parse.urlsplit(source).path
  return Path(source).name


@contextmanager
def _at_hand(source: str, folder: Path, page: str) -> Iterator[Path]:
  """Gives a local file; what came over the network goes when it is used."""
  if not _is_address(source):
    if not Path(source).is_file():
      raise ValueError(f"--source={source}: there is no such file")
    yield Path(source)
    return
  with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as room:
    path = Path(room) / "file"
    try:
      with (
        urllib.request.urlopen(source, timeout=_SECONDS) as answer,
        open(path, "xb") as file,
      ):
        size = int(answer.headers.get("Content-Length") or 0)
        with tqdm.wrapattr(
          answer, "read", total=size or None, desc=_base_name(source)
        ) as body:
          shutil.copyfileobj(body, file, _BLOCK)
    except OSError as error:
      reason = getattr(error, "reason", error)
      raise ValueError(
        f"cannot fetch {source} ({reason}). Without a network: fetch the file "
        f"elsewhere (see {page}), copy it here and give --source=FILE"
      ) from error
    if size and path.stat().st_size != size:
      raise ValueError(
        f"{source}: {path.stat().st_size} of {size} bytes came; try again"
      )
    yield path


def _unpack(
  path: Path, called: Path, files: tuple[Wanted, ...], folder: Path
) -> dict[str, Path]:
  """Writes every file of the data set that stands in path; name -> path."""
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      inside = {Path(entry).name: entry for entry in archive.namelist()}
      found = {}
      for file in files:
        entry = inside.get(file.name, inside.get(f"{file.name}.gz"))
        if entry is not None:
          with archive.open(entry) as content:
            found[file.name] = _write(content, file, folder, entry)
      return found
  plain = called.name.removesuffix(".gz")
  for file in files:
    if file.name == plain or len(files) == 1:
      with open(path, "rb") as content:
        return {file.name: _write(content, file, folder, called)}
  raise ValueError(
    f"{called}: its name does not say which file it is; name it "
    f"{' or '.join(file.name for file in files)}"
  )


def _write(content: BinaryIO, file: Wanted, folder: Path, called) -> Path:
  """Writes one file, unpacked, unless its fingerprint is another one."""
  path = folder / file.name
  zipped = content.peek(2)[:2] == b"\x1f\x8b"
  outer = _Hashing(content, file.packed[0] if file.packed else "sha256")
  body = gzip.open(outer) if zipped else outer
  kind = file.digest[0] if file.digest else "sha256"
  inner = hashlib.new(kind)
  with replacing(path) as temporary:
    with open(temporary, "xb") as target:
      try:
        while piece := body.read(_BLOCK):
          inner.update(piece)
          target.write(piece)
      except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
          f"{called} is cut short or damaged ({error}); fetch it again"
        ) from error
    checked = [("content", file.digest, inner.hexdigest())]
    if zipped:
      checked.append(("gzip file", file.packed, outer.hexdigest()))
    known = [check for check in checked if check[1]]
    for what, expected, found in known:
      if found != expected[1]:
        raise ValueError(
          f"{called}: {expected[0]} of the {what} is {found}, the published "
          f"one is {expected[1]}; nothing was kept. Fetch it again; a file "
          "that you trust can be given to --data_path as it is"
        )
  if known:
    print(f"{path}: {', '.join(e[0] for _, e, _ in known)} as published")
  else:
    digest = file_digest(path)
    print(f"{path}: no published fingerprint is known; its sha256 is {digest}")
  return path


class _Hashing:
  """A file that is read once from its start, with the digest of all of it."""

  def __init__(self, file: BinaryIO, kind: str):
    self._file, self._hash = file, hashlib.new(kind)

  def read(self, size: int = -1) -> bytes:
    piece = self._file.read(size)
    self._hash.update(piece)
    return piece

  def hexdigest(self) -> str:
    return self._hash.hexdigest()


def main(name: str) -> None:
  """Runs the command."""
  folder = Path(CACHE_FOLDER.value or Path.home() / ".cache" / "bidfcl_jax")
  paths = install(name, SOURCE.value, folder)
  words = DATA_SETS[name].flags.format(*paths)
  print(f"python -m experiments.train --data={name} {words}")


if __name__ == "__main__":
  guard.run(main, "the NAME of a data set")
