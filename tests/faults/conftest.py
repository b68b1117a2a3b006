"""One frame cache and one folder of compiled programs for a whole test session."""

import pytest

from tests.faults.helper import Commands


@pytest.fixture(scope='session')
def commands(tmp_path_factory):
  return Commands(tmp_path_factory.mktemp('faults'))
