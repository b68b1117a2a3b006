"""Files are whole or not there; process settings leave a user's own alone."""

import json

import pytest

from a3dcae_jax.common import tuning
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, atomic_write, read_json, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path):
  path = tmp_path / 'a' / 'x.txt'
  with atomic_write(path) as file:
    file.write('old')
  with pytest.raises(RuntimeError), atomic_write(path) as file:
    file.write('half')
    raise RuntimeError
  assert path.read_text() == 'old' and [p.name for p in path.parent.iterdir()] == ['x.txt']


def test_a_failed_folder_leaves_the_old_one(tmp_path):
  with atomic_dir(tmp_path / 'f') as folder:
    (folder / 'old').touch()
  with pytest.raises(RuntimeError), atomic_dir(tmp_path / 'f') as folder:
    (folder / 'half').touch()
    raise RuntimeError
  assert [p.name for p in tmp_path.rglob('*')] == ['f', 'old']
  with atomic_dir(tmp_path / 'f') as folder:
    (folder / 'new').touch()
  assert [p.name for p in tmp_path.rglob('*')] == ['f', 'new']


def test_json(tmp_path):
  write_json(tmp_path / 'a.json', {'a': [1, None]})
  assert read_json(tmp_path / 'a.json') == {'a': [1, None]}
  with pytest.raises(ValueError, match='not JSON compliant'):
    write_json(tmp_path / 'a.json', float('nan'))
  assert json.loads((tmp_path / 'a.json').read_text())['a'] == [1, None]
  with pytest.raises(UserError, match=r'none.json does not exist'):
    read_json(tmp_path / 'none.json')
  (tmp_path / 'b.json').write_text('{')
  with pytest.raises(UserError, match=r'b.json is not valid JSON'):
    read_json(tmp_path / 'b.json')


def test_flags_of_the_user_stay(monkeypatch):
  monkeypatch.setattr(tuning, '_ACCELERATOR_PLUGINS', ())
  monkeypatch.setenv('XLA_FLAGS', '--xla_disable_hlo_passes=mine')
  assert not tuning.keep_barriers()
  monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=x')
  assert tuning.keep_barriers() and not tuning.keep_barriers()
  assert (
    tuning.os.environ['XLA_FLAGS']
    == '--xla_dump_to=x --xla_disable_hlo_passes=cse_barrier_expander'
  )
  monkeypatch.setattr(tuning, '_ACCELERATOR_PLUGINS', ('json',))
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  assert not tuning.keep_barriers()
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')  # an accelerator that is told off needs no pass
  tuning.tune_process(compiles_ahead=True)
  assert not tuning.os.environ['XLA_FLAGS']
  assert tuning.keep_barriers()
  monkeypatch.setenv('LIBTPU_INIT_ARGS', '--mine=1')
  assert tuning.fuse_reductions() and not tuning.fuse_reductions()
  assert (
    tuning.os.environ['LIBTPU_INIT_ARGS']
    == '--mine=1 --xla_jf_crs_combiner_threshold_in_bytes=4000000000'
  )
