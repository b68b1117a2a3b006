"""A checkpoint is taken for whole only if it is: cut off, truncated, altered, half removed, unwritable."""

import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.manifest import damage

TREE = {'a': jnp.arange(3.0), 'net': {'kernel': jnp.ones((64, 64))}, 'step': jnp.int32(0)}


@pytest.fixture
def folder(tmp_path):
  """Whole checkpoints of steps 2, 4, 6."""
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  for step in (2, 4, 6):
    checkpoints.save(step, TREE | {'step': jnp.int32(step)})
  checkpoints.close()
  return tmp_path / 'checkpoints'


def largest(folder):
  return max(
    (path for path in (folder / 'default').rglob('*') if path.is_file()),
    key=lambda path: path.stat().st_size,
  )


def truncate(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[:-1])


def alter(folder):
  path = largest(folder)
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


DAMAGES = [
  (truncate, 'bytes of'),
  (alter, 'SHA-256 differs'),
  (lambda folder: largest(folder).unlink(), 'is missing'),
  (lambda folder: (folder / 'manifest.json').unlink(), 'manifest.json is missing or broken'),
  (
    lambda folder: (folder / 'manifest.json').write_text('{"files"'),
    'manifest.json is missing or broken',
  ),
  (lambda folder: shutil.rmtree(folder / 'default'), 'is missing'),
]


@pytest.mark.parametrize('harm, said', DAMAGES)
def test_the_newest_whole_one_is_taken_and_said(folder, capsys, harm, said):
  assert damage(folder / '6') == ''
  harm(folder / '6')
  checkpoints = Checkpoints(folder)
  assert checkpoints.latest_step() == 4
  output = capsys.readouterr().out
  assert '6 is not whole' in output and said in output
  assert int(checkpoints.restore(4, TREE)['step']) == 4
  checkpoints.save(6, TREE | {'step': jnp.int32(6)})  # going on from 4, the run comes to 6 again
  checkpoints.wait()
  assert checkpoints.latest_step() == 6 and damage(folder / '6') == ''
  checkpoints.close()


def test_none_whole_is_none(folder):
  for step in ('2', '4', '6'):
    truncate(folder / step)
  checkpoints = Checkpoints(folder)
  assert checkpoints.latest_step() is None
  checkpoints.close()


def test_what_killed_saves_left_is_no_checkpoint_and_is_swept_by_the_next_save(folder):
  shutil.copytree(folder / '6', folder / '.saving-8')
  shutil.copytree(folder / '6', folder / '.deleting-2')
  (folder / '8.orbax-checkpoint-tmp').mkdir()
  checkpoints = Checkpoints(folder)
  assert (
    checkpoints.steps() == [2, 4, 6] and (folder / '.saving-8').exists()
  )  # a reader leaves a writer's files alone
  checkpoints.save(9, TREE)
  checkpoints.close()
  assert sorted(path.name for path in folder.iterdir()) == ['4', '6', '9']


def test_a_run_of_before_manifests_goes_on(folder, capsys):
  for step in ('2', '4', '6'):
    (folder / step / 'manifest.json').unlink()
    (folder / step / '_CHECKPOINT_METADATA').write_text('{}')
  checkpoints = Checkpoints(folder)
  assert checkpoints.latest_step() == 6 and int(checkpoints.restore(6, TREE)['step']) == 6
  checkpoints.close()
  assert 'not whole' not in capsys.readouterr().out


def test_a_save_that_fails_is_said_and_leaves_the_others(folder, monkeypatch, capsys):
  def full(self, *_, **__):
    raise OSError(28, 'No space left on device')

  checkpoints = Checkpoints(folder)
  monkeypatch.setattr(type(checkpoints._orbax), 'save', full)
  checkpoints.save(8, TREE)
  checkpoints.wait()
  assert (
    'step 8 could not be written: [Errno 28] No space left' in checkpoints.failure
    and checkpoints.failure in capsys.readouterr().out
  )
  assert (
    checkpoints.steps() == [2, 4, 6]
    and checkpoints.latest_step() == 6
    and not list(folder.glob('.saving*'))
  )
  monkeypatch.undo()
  checkpoints.save(10, TREE)  # there is room again
  checkpoints.close()
  assert checkpoints.failure is None and checkpoints.steps() == [4, 6, 10]


def test_what_does_not_fit_is_named(folder):
  checkpoints = Checkpoints(folder)
  with pytest.raises(
    UserError,
    match=r'6 does not fit this config: net/kernel is float32\[64, 64\] there, float32\[64, 32\] here',
  ):
    checkpoints.restore(6, TREE | {'net': {'kernel': jnp.ones((64, 32))}})
  with pytest.raises(UserError, match=r'b is absent there, float32\[\] here'):
    checkpoints.restore(6, TREE | {'b': jnp.zeros(())})
  checkpoints.close()


def test_the_values_saved_are_those_of_the_call(tmp_path):
  """The next step may reuse the state's memory while the save still runs."""
  grow = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
  checkpoints, state = Checkpoints(tmp_path, keep=9), grow({'x': jnp.zeros(300_000)})
  for step in range(1, 6):
    checkpoints.save(step, state)
    state = grow(state)
  checkpoints.wait()
  for step in range(1, 6):
    np.testing.assert_array_equal(checkpoints.restore(step, state)['x'], np.float32(step))
  assert len(checkpoints.held_s) == 5
  manifest = json.loads((pathlib.Path(tmp_path) / '3' / 'manifest.json').read_text())
  assert (
    manifest['step'] == 3
    and manifest['held_s'] >= 0
    and manifest['write_s'] > 0
    and manifest['arrays'] == {'x': 'float32[300000]'}
  )
  checkpoints.close()
