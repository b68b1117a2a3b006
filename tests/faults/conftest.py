"""Commands of a test session share one folder: the frame cache and the compiled programs are made once."""

import pytest

from tests.faults.helper import Commands


@pytest.fixture(scope='session')
def commands(tmp_path_factory):
  return Commands(tmp_path_factory.mktemp('faults'))
