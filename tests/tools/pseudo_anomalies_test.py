"""The pseudo-anomaly validation set: held-out videos, types, labels, corruptions."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools.validation import movers
from tools.validation.pseudo_anomalies import COARSE_TYPES, Recipe, write_pseudo_cache

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  return prepare_cache(
    'synthetic',
    root='',
    cache_dir=tmp_path_factory.mktemp('caches'),
    height=64,
    width=64,
    options={'num_videos': 3, 'frames_per_video': 60},
  )


def make(source, folder, *, holdout=1, **recipe):
  write_pseudo_cache(source, folder, holdout=holdout, recipe=Recipe(**recipe))
  return FrameCache.open(folder)


def names_of(split):
  return [video.name for video in split.videos]


def parts_of(array, videos):
  """Return video name -> its part of an array over all frames."""
  return {video.name: array[video.first : video.first + video.num_frames] for video in videos}


def test_held_out_videos_become_abnormal_test_videos(tmp_path, source):
  made = make(source, tmp_path / 'pseudo', holdout=2)
  made.verify()
  assert made.index['label_set'] == 'pseudo'
  assert names_of(made.train) == names_of(source.train)[:1]
  np.testing.assert_array_equal(made.train.frames, source.train.frames[:60])
  assert len(made.test.videos) == 2 * len(COARSE_TYPES)
  originals = parts_of(source.train.frames, source.train.videos)
  frames = parts_of(made.test.frames, made.test.videos)
  for name, labels in parts_of(made.test.labels, made.test.videos).items():
    assert 0 < labels.mean() < 1
    original, kind = name.rsplit('-', 1)
    if kind != 'rush':
      changed = (frames[name] != originals[original]).any((1, 2))
      np.testing.assert_array_equal(changed, labels)


def test_subtle_types_are_made_of_a_named_video(tmp_path, source):
  made = make(source, tmp_path / 'pseudo', holdout=['01'], family='subtle')
  assert names_of(made.train) == ['02', '03']
  np.testing.assert_array_equal(made.train.frames, source.train.frames[60:])
  assert names_of(made.test) == [f'01-{kind}' for kind in movers.DEFAULT_TYPES]


def test_chosen_types_are_made_several_times_and_mixed(tmp_path, source):
  made = make(source, tmp_path / 'pseudo', types=('large', 'fast'), copies=2, mixed=True, seed=3)
  assert names_of(made.test) == ['03-large-1', '03-large-2', '03-fast-1', '03-fast-2']
  for words in ('coarse (large fast)', '2 copies', 'mixed', 'seed 3'):
    assert words in made.index['layout']
  for labels in parts_of(made.test.labels, made.test.videos).values():
    assert 0.15 < labels.mean() < 0.85
  frames = parts_of(made.test.frames, made.test.videos)
  assert (frames['03-large-1'] != frames['03-large-2']).any()


def test_each_video_has_a_corrupted_copy_with_its_labels(tmp_path, source):
  plain = make(source, tmp_path / 'plain', family='subtle')
  made = make(source, tmp_path / 'corrupted', family='subtle', corruption='turn')
  names = names_of(made.test)
  assert names[::2] == names_of(plain.test)
  corruptions = ['light', 'shift', 'noise', 'bystander', 'light']
  assert names[1::2] == [f'{name}-{how}' for name, how in zip(names[::2], corruptions, strict=True)]
  frames = parts_of(made.test.frames, made.test.videos)
  labels = parts_of(made.test.labels, made.test.videos)
  plain_frames = parts_of(plain.test.frames, plain.test.videos)
  for name, copy in zip(names[::2], names[1::2], strict=True):
    np.testing.assert_array_equal(frames[name], plain_frames[name])
    np.testing.assert_array_equal(labels[name], labels[copy])
    assert (frames[name] != frames[copy]).any((1, 2)).all()
    if copy.endswith('bystander'):
      touched = (frames[name] != frames[copy]).any(0)
      assert 0.005 < touched.mean() < 0.5  # one person who stands still


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'holdout': 3}, r'holdout \(=3\) must leave some of the 3'),
    ({'holdout': ['99']}, 'no training video 99; there are 01, 02, 03'),
    ({'family': 'bats'}, "family 'bats': known are coarse, subtle"),
    ({'types': ('fast', 'slow')}, "'coarse' has no slow; it has fast, large, rush"),
    ({'copies': 0}, r'copies \(=0\) must be at least 1'),
    ({'corruption': 'rain'}, "corruption 'rain': known are turn, light, shift, noise, bystander"),
    (
      {'family': 'subtle', 'types': ('walker',), 'mixed': True},
      '50 draws gave no walker .* 15% to 85%',
    ),
  ],
)
def test_impossible_recipes_are_refused(tmp_path, source, arguments, message):
  with pytest.raises(UserError, match=message):
    make(source, tmp_path / 'pseudo', **arguments)
  assert not (tmp_path / 'pseudo').exists()


def test_the_command_needs_only_the_training_split(tmp_path, source):
  cache = tmp_path / 'cache'
  cache.mkdir()
  for name in ('index.json', 'train.npy'):
    (cache / name).symlink_to(source.folder / name)
  flags = ['--videos=02', '--types=rush', '--copies=2', '--corrupt=noise']
  command = [sys.executable, '-m', 'tools.validation.pseudo_cache', cache, tmp_path / 'new']
  subprocess.run([*command, *flags], check=True, cwd=ROOT)
  made = FrameCache.open(tmp_path / 'new')
  assert names_of(made.test) == ['02-rush-1', '02-rush-1-noise', '02-rush-2', '02-rush-2-noise']
  refused = subprocess.run(
    [*command, '--types=slow'], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert refused.returncode == 2
  assert refused.stderr.startswith('error: types')
