"""One trained smoke run for all tests of the commands that read one."""

import pytest
from stored_run import make_run


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
  return make_run(tmp_path_factory.mktemp("run") / "run")
