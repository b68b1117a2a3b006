"""The reference implementation: its flags, figures and errors."""

import sys

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import peer

ROW = {'mode': 'train', 'preset': 'small', 'size_px': 112, 'batch': 4, 'dtype': 'float32'}
ECHO = """
import json, os, sys
names = [flag[2:] for flag in sys.argv[1::2]]
found = dict(zip(names, sys.argv[2::2]))
print('a line before the figures')
print(json.dumps(found | {'clips_per_s': 2.0, 'malloc': os.environ.get('MALLOC_ARENA_MAX')}))
"""


@pytest.fixture
def script(tmp_path):
  def write(text):
    (tmp_path / 'peer.py').write_text(text)
    return peer.Peer(sys.executable, str(tmp_path / 'peer.py'))

  return write


def test_the_script_gets_the_setting_and_returns_its_figures(script):
  given = script(ECHO)._replace(options='--layout ncdhw')
  figures = peer.run_peer(given, ROW, reps=3, options='--window 10')
  assert figures == {
    'mode': 'train',
    'preset': 'small',
    'size': '112',
    'batch': '4',
    'dtype': 'f32',
    'reps': '3',
    'window': '10',
    'layout': 'ncdhw',
    'clips_per_s': 2.0,
    'malloc': '1',
  }


def test_the_script_has_its_own_allocator_settings_on_request(script, monkeypatch):
  monkeypatch.delenv('MALLOC_ARENA_MAX', raising=False)
  untuned = script(ECHO)._replace(tuned=False)
  assert peer.run_peer(untuned, ROW, reps=3)['malloc'] is None


def test_the_last_line_of_a_failed_script_is_shown(script):
  peer.check_peer(script('print("usage")'))
  with pytest.raises(UserError, match='status 3: no GPU'):
    peer.run_peer(script('import sys; print("no GPU", file=sys.stderr); sys.exit(3)'), ROW, reps=1)


def test_a_python_that_is_not_there_is_named(script):
  with pytest.raises(UserError, match='--peer_python .=/none/python. cannot be run: No such file'):
    peer.check_peer(script('')._replace(python='/none/python'))
