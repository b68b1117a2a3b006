"""Commands of a test session share one folder: the frame store and the compiled programs are made once."""

import os
import pathlib

import pytest

from tests.faults.helper import Commands


@pytest.fixture(scope='session')
def commands(tmp_path_factory):
  return Commands(pathlib.Path(os.environ.get('A3DTMP') or tmp_path_factory.mktemp('faults')))
