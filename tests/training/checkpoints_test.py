"""Only whole checkpoints are used, never truncated, altered or incomplete ones."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training import processes
from a3dcae_jax.training.checkpoints import Checkpoints, restore_or_init, restored_for_all
from a3dcae_jax.training.manifest import damage

TREE = {'a': jnp.arange(3.0), 'net': {'kernel': jnp.ones((64, 64))}, 'step': jnp.int32(0)}


def tree_of(step):
  return TREE | {'step': jnp.int32(step)}


@pytest.fixture
def folder(tmp_path):
  """Whole checkpoints of steps 2, 4 and 6."""
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  for step in (2, 4, 6):
    checkpoints.save(step, tree_of(step))
  checkpoints.close()
  return tmp_path / 'checkpoints'


@pytest.fixture
def checkpoints(folder):
  opened = Checkpoints(folder)
  yield opened
  opened.close()


def largest(folder):
  files = [path for path in (folder / 'default').rglob('*') if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def truncate(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[:-1])


def alter(folder):
  path = largest(folder)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def remove_file(folder):
  largest(folder).unlink()


def remove_manifest(folder):
  (folder / 'manifest.json').unlink()


def cut_manifest(folder):
  (folder / 'manifest.json').write_text('{"files"')


def remove_arrays(folder):
  shutil.rmtree(folder / 'default')


@pytest.mark.parametrize(
  'harm, reason',
  [
    (truncate, 'bytes of'),
    (alter, 'SHA-256 differs'),
    (remove_file, 'is missing'),
    (remove_manifest, 'manifest.json is missing or broken'),
    (cut_manifest, 'manifest.json is missing or broken'),
    (remove_arrays, 'is missing'),
  ],
)
def test_a_damaged_checkpoint_is_named_and_an_older_one_is_used(
  folder, checkpoints, capsys, harm, reason
):
  assert damage(folder / '6') == ''
  harm(folder / '6')
  assert checkpoints.latest_step() == 4
  output = capsys.readouterr().out
  assert '6 is not whole' in output and reason in output
  assert int(checkpoints.restore(4, TREE)['step']) == 4
  checkpoints.save(6, tree_of(6))  # the resumed run reaches step 6 again
  checkpoints.wait()
  assert checkpoints.latest_step() == 6
  assert damage(folder / '6') == ''


def test_without_a_whole_checkpoint_there_is_no_latest_step(folder, checkpoints):
  for step in ('2', '4', '6'):
    truncate(folder / step)
  assert checkpoints.latest_step() is None


def test_remains_of_killed_saves_are_ignored_and_removed_by_the_next_save(folder, checkpoints):
  shutil.copytree(folder / '6', folder / '.saving-8')
  shutil.copytree(folder / '6', folder / '.deleting-2')
  (folder / '8.orbax-checkpoint-tmp').mkdir()
  assert checkpoints.steps() == [2, 4, 6]
  assert (folder / '.saving-8').exists()  # a reader does not touch a writer's files
  checkpoints.save(9, TREE)
  checkpoints.wait()
  assert sorted(path.name for path in folder.iterdir()) == ['4', '6', '9']


def test_a_save_that_fails_is_reported_and_leaves_the_others(
  folder, checkpoints, monkeypatch, capsys
):
  def fail(self, *_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(ocp.Checkpointer, 'save', fail)
  checkpoints.save(8, TREE)
  checkpoints.wait()
  assert 'step 8 could not be written: [Errno 28] No space left' in checkpoints.failure
  assert checkpoints.failure in capsys.readouterr().out
  assert checkpoints.steps() == [2, 4, 6]
  assert checkpoints.latest_step() == 6
  assert not list(folder.glob('.saving*'))
  monkeypatch.undo()
  checkpoints.save(10, TREE)  # the disk has space again
  checkpoints.wait()
  assert checkpoints.failure is None
  assert checkpoints.steps() == [4, 6, 10]


def test_an_array_that_does_not_fit_is_named(checkpoints):
  other = TREE | {'net': {'kernel': jnp.ones((64, 32))}}
  difference = r'net/kernel is float32\[64, 64\] there, float32\[64, 32\] here'
  with pytest.raises(UserError, match=f'6 does not fit this config: {difference}'):
    checkpoints.restore(6, other)
  with pytest.raises(UserError, match=r'b is absent there, float32\[\] here'):
    checkpoints.restore(6, TREE | {'b': jnp.zeros(())})


def test_a_save_has_the_values_at_the_time_of_the_call(tmp_path):
  """The next step may reuse the state's memory while the save still runs."""
  grow = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
  checkpoints = Checkpoints(tmp_path, keep=9)
  state = grow({'x': jnp.zeros(300_000)})
  for step in range(1, 6):
    checkpoints.save(step, state)
    state = grow(state)
  checkpoints.wait()
  for step in range(1, 6):
    np.testing.assert_array_equal(checkpoints.restore(step, state)['x'], np.float32(step))
  assert len(checkpoints.held_s) == 5
  checkpoints.close()


@pytest.mark.parametrize(
  'content', [b'', b'\xff', b'[]', b'{}', b'{"files": []}', b'{"files": {"a": 1}}']
)
def test_a_damaged_manifest_is_named(tmp_path, content):
  (tmp_path / 'manifest.json').write_bytes(content)
  assert damage(tmp_path) == 'manifest.json is missing or broken'


def test_the_manifest_has_step_times_and_arrays(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(3, {'x': jnp.zeros(7)})
  checkpoints.close()
  manifest = json.loads((tmp_path / '3' / 'manifest.json').read_text())
  assert manifest['step'] == 3
  assert manifest['arrays'] == {'x': 'float32[7]'}
  assert manifest['held_s'] >= 0 and manifest['write_s'] > 0


def test_a_run_starts_from_the_newest_checkpoint_or_from_a_fresh_state(tmp_path, checkpoints):
  state, step = restore_or_init(checkpoints, lambda: tree_of(0))
  assert step == 6 and int(state['step']) == 6
  empty = Checkpoints(tmp_path / 'empty')
  state, step = restore_or_init(empty, lambda: tree_of(0))
  assert step == 0 and int(state['step']) == 0
  empty.close()


def test_a_checkpoint_that_does_not_fit_is_a_user_error(folder, checkpoints):
  with pytest.raises(UserError, match='does not fit this config: b is absent there'):
    restore_or_init(checkpoints, lambda: TREE | {'b': jnp.zeros(())})


@pytest.mark.parametrize('is_primary', [True, False])
def test_only_process_0_of_a_pod_reads_checkpoints(checkpoints, monkeypatch, is_primary):
  def run_on_primary(name, body):
    return body() if is_primary else 6

  monkeypatch.setattr(processes, 'count', lambda: 2)
  monkeypatch.setattr(processes, 'run_on_primary', run_on_primary)
  monkeypatch.setattr(processes, 'broadcast', lambda tree: tree)
  if not is_primary:
    monkeypatch.setattr(checkpoints, 'latest_step', None)
  state, step = restored_for_all(checkpoints, lambda: tree_of(0))
  assert step == 6
  assert int(state['step']) == (6 if is_primary else 0)
