"""Table VII: our networks and a reference implementation, in turn."""

import sys
import types

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.peer import Peer
from a3dcae_jax.paper import plan, session, speed
from a3dcae_jax.paper.collect import RowResult, read_result
from a3dcae_jax.paper.tables import TABLES
from tests.paper.made_runs import base, write_run

SCRIPT = """
import json, sys
assert sys.argv[1:] == 'FLAGS'.split(), sys.argv
print(json.dumps({'clips_per_s': 2.0}))
"""


def test_the_reference_has_the_sizes_of_the_run():
  setting = speed.peer_setting(base(**{'data.width': 48, 'eval.batch_size': 3}).settings)
  assert setting.row == {
    'mode': 'infer',
    'preset': 'paper',
    'size_px': '32x48',
    'batch': 3,
    'dtype': 'float32',
  }
  assert setting.options == '--widths=4,4,6,6,8 --window=16'
  compared = speed.peer_setting(base('tiny,conv_ae').settings)
  assert compared.row['preset'] == 'conv_ae' and '--window=10' in compared.options


@pytest.mark.parametrize(
  'variants', ['tiny,without_recorded_locations', 'tiny,without_3d_pool', 'local', 'flow']
)
def test_a_network_that_the_reference_does_not_have_is_left_out(variants):
  assert speed.peer_setting(base(variants).settings) is None


class Counted:
  """A program that counts its runs."""

  def __init__(self):
    self.runs = 0

  def __call__(self):
    self.runs += 1


@pytest.fixture
def programs(monkeypatch):
  """Two programs, of which the reference has the first."""
  setting = speed.PeerSetting(
    {'mode': 'infer', 'preset': 'conv_ae', 'size_px': '8x8', 'batch': 4, 'dtype': 'float32'},
    '--window=10',
  )
  made = {
    'one': speed._Program(Counted(), None, 4, 10, setting),
    'two': speed._Program(Counted(), None, 4, 10, None),
  }
  monkeypatch.setattr(speed, '_program', made.get)
  monkeypatch.setattr(speed, 'used_bytes', lambda _: 7)
  monkeypatch.setattr(speed, 'xla_cost', lambda _: types.SimpleNamespace(flops=None))
  return made


def script(tmp_path, text):
  path = tmp_path / 'peer.py'
  path.write_text(text)
  return Peer(sys.executable, str(path), '--layout ncdhw')


def test_both_take_turns(programs, tmp_path):
  flags = (
    '--mode infer --preset conv_ae --size 8x8 --batch 4 --dtype f32 --reps 3 --window=10 '
    '--layout ncdhw'
  )
  peer = script(tmp_path, SCRIPT.replace('FLAGS', flags))
  found = speed.measure({'one': 'one', 'two': 'two'}, peer)
  assert found['one'].peer_frames_per_s == 20
  assert len(found['one'].ratios) == speed.TURNS
  assert found['two'].peer_frames_per_s is None and found['two'].ratios == ()
  # One more before each turn than without a reference.
  assert programs['one'].run.runs == 1 + speed.TURNS * (1 + speed.RUNS)


def test_the_table_is_made_without_a_reference_that_fails(programs, tmp_path, monkeypatch):
  job = plan.make_jobs(base(), ['fig3'], [0], tmp_path / 'out')['base', 0]
  write_run(job, strength=1)
  result = read_result(job)
  rows = [RowResult(label, None, (result,)) for label in TABLES['VII'].rows]
  monkeypatch.setattr(speed, '_program', lambda _: programs['one'])
  peer = script(tmp_path, 'raise SystemExit("no memory")')
  with pytest.raises(UserError, match='no memory'):
    speed.measure({'one': result}, peer)
  sheet = session._speed_sheet('VII', rows, peer)
  assert any('no memory' in note for note in sheet.notes)
  assert 'frames/s, PyTorch' not in sheet.cells[0]
