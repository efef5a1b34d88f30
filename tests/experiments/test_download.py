import gzip
import hashlib
import subprocess
import sys
import zipfile

import pytest
from absl import flags

from experiments import download

TEXT = b"a,b\n1,2\n"


@pytest.fixture(autouse=True)
def known(monkeypatch):
  """Fingerprints of TEXT in the place of the published ones."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(["test"])
  md5 = ("md5", hashlib.md5(TEXT).hexdigest())
  sha = ("sha256", hashlib.sha256(TEXT).hexdigest())
  packed = ("sha256", hashlib.sha256(gzip.compress(TEXT, mtime=0)).hexdigest())
  wanted = {
    "hillstrom": [("hillstrom.csv", sha, None)],
    "criteo": [("criteo.csv", None, packed)],
    "lazada": [("a.csv", md5, None), ("b.csv", md5, None)],
    "mt_lift": [("train.csv", None, None)],
  }
  for name, files in wanted.items():
    old = download.DATA_SETS[name]
    files = tuple(download.Wanted(*file) for file in files)
    monkeypatch.setitem(
      download.DATA_SETS, name, old._replace(files=files, page="a page")
    )


def install(name, tmp_path, *sources):
  names = [str(source) for source in sources]
  return download.install(name, names or None, tmp_path / "cache")


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_plain_and_gzip_are_unpacked_and_checked(tmp_path, capsys):
  (tmp_path / "mine.csv").write_bytes(TEXT)
  (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(TEXT))
  for source in ("mine.csv", "mine.csv.gz"):
    (path,) = install("hillstrom", tmp_path, tmp_path / source)
    assert path == tmp_path / "cache" / "hillstrom.csv"
    assert path.read_bytes() == TEXT
    assert "sha256 as published" in capsys.readouterr().out


def test_fingerprint_of_the_gzip_file(tmp_path, capsys):
  source = tmp_path / "c.csv.gz"
  source.write_bytes(gzip.compress(TEXT, mtime=0))
  assert install("criteo", tmp_path, source)[0].read_bytes() == TEXT
  assert "as published" in capsys.readouterr().out
  source.write_bytes(gzip.compress(TEXT, mtime=1))
  with pytest.raises(ValueError, match="of the gzip file is .* published"):
    install("criteo", tmp_path, source)


def test_other_content_leaves_what_stood_there(tmp_path):
  source = tmp_path / "mine.csv"
  source.write_bytes(TEXT)
  (path,) = install("hillstrom", tmp_path, source)
  source.write_bytes(TEXT + b"3,4\n")
  with pytest.raises(ValueError, match="nothing was kept"):
    install("hillstrom", tmp_path, source)
  zipped = gzip.compress(TEXT * 100)
  (tmp_path / "cut.csv.gz").write_bytes(zipped[:-20])
  with pytest.raises(ValueError, match="cut.csv.gz is cut short"):
    install("hillstrom", tmp_path, tmp_path / "cut.csv.gz")
  assert path.read_bytes() == TEXT
  assert names(tmp_path / "cache") == ["hillstrom.csv"]


def test_zip_with_both_files_of_a_data_set(tmp_path):
  with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
    archive.writestr("folder/b.csv.gz", gzip.compress(TEXT))
    archive.writestr("folder/a.csv", TEXT)
    archive.writestr("README", "")
  paths = install("lazada", tmp_path, tmp_path / "all.zip")
  assert [path.name for path in paths] == ["a.csv", "b.csv"]
  assert all(path.read_bytes() == TEXT for path in paths)


def test_files_that_are_missing_or_nameless_are_refused(tmp_path):
  (tmp_path / "a.csv").write_bytes(TEXT)
  with pytest.raises(ValueError, match="no source holds b.csv of lazada"):
    install("lazada", tmp_path, tmp_path / "a.csv")
  (tmp_path / "x.csv").write_bytes(TEXT)
  with pytest.raises(ValueError, match="name it a.csv or b.csv"):
    install("lazada", tmp_path, tmp_path / "x.csv")
  with pytest.raises(ValueError, match="there is no such file"):
    install("hillstrom", tmp_path, tmp_path / "nowhere.csv")
  with pytest.raises(ValueError, match="'titanic' is not one of criteo"):
    install("titanic", tmp_path)
  with pytest.raises(ValueError, match="by hand, starting from a page"):
    install("lazada", tmp_path)


def test_unknown_fingerprint_is_said_and_shown(tmp_path, capsys):
  (tmp_path / "t.csv").write_bytes(TEXT)
  install("mt_lift", tmp_path, tmp_path / "t.csv")
  out = capsys.readouterr().out
  assert "no published fingerprint is known" in out
  assert hashlib.sha256(TEXT).hexdigest() in out


def test_addresses_are_fetched_and_a_dead_one_tells_what_to_do(
  tmp_path, monkeypatch
):
  (tmp_path / "mine.csv").write_bytes(TEXT)
  opened = download.urllib.request.urlopen
  with monkeypatch.context() as patch:
    # No network in tests: the address answers from a file.
    patch.setattr(
      download.urllib.request,
      "urlopen",
      lambda address, timeout: opened((tmp_path / "mine.csv").as_uri()),
    )
    (path,) = install("hillstrom", tmp_path, "https://example.org/h.csv")
  assert path.read_bytes() == TEXT
  with pytest.raises(ValueError, match="Without a network: .* --source=FILE"):
    install("hillstrom", tmp_path, "http://127.0.0.1:9/h.csv")
  assert names(tmp_path / "cache") == ["hillstrom.csv"]


def test_command_ends_with_one_line(tmp_path):
  (tmp_path / "t.csv").write_bytes(TEXT)
  words = ["hillstrom", f"--source={tmp_path / 't.csv'}"]
  done = subprocess.run(
    [
      *(sys.executable, "-m", "experiments.download", *words),
      f"--cache_folder={tmp_path / 'cache'}",
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert done.stderr.startswith("error: t.csv: sha256 of the content")
  assert not names(tmp_path / "cache")
