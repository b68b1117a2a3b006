"""A mean image per camera or video, in training and in scoring."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import checked, make_config
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import gather_clips
from a3dcae_jax.data.mean_image import mean_of_videos
from a3dcae_jax.data.windows import test_windows as cut_windows
from a3dcae_jax.data.windows import training_clips
from a3dcae_jax.evaluation.calibrate import find_input_statistics
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.mean_images import mean_image_ids, mean_image_names
from a3dcae_jax.evaluation.program import make_recipe
from a3dcae_jax.evaluation.scorer import MeanInputScorer
from a3dcae_jax.evaluation.window_errors import window_errors, window_list
from a3dcae_jax.models.inputs import UNIFORM_ROWS
from a3dcae_jax.run import clip_feed, session
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run.datasets import open_cache
from tests.data.dummy_sets import write_frames

SHADES = {'01': 60, '02': 190}  # grey levels of the two cameras


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """Write videos of a dark and a bright camera in ShanghaiTech's layout.

  Each camera has two training videos and one test video.
  """
  root = tmp_path_factory.mktemp('footage')
  rng = np.random.default_rng(0)
  masks = root / 'testing' / 'test_frame_mask'
  for scene, shade in SHADES.items():
    for split, name in (('training', '001'), ('training', '002'), ('testing', '0001')):
      frames = rng.integers(shade - 40, shade + 40, (34, 32, 32), dtype=np.uint8)
      write_frames(root / split / 'frames' / f'{scene}_{name}', frames)
    masks.mkdir(exist_ok=True)
    np.save(masks / f'{scene}_0001.npy', np.arange(34) > 20)
  return root


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


def configured(root, folder, mode):
  config = make_config('shanghaitech', 'tiny')
  values = {
    'data.root': str(root),
    'data.cache_dir': str(folder / 'caches'),
    'data.mean_image': mode,
    'train.steps': 2,
    'model.widths': (4, 4, 6),  # quick to compile
    'model.discriminator_widths': (2, 2),
  }
  config.update_from_flattened_dict(values)
  return checked(config)


def opened(root, folder, mode):
  settings = configured(root, folder, mode)
  cache = open_cache(settings.data)
  inputs = find_input_statistics(mode, settings.input, cache)
  return settings, cache, inputs


def test_a_mean_image_for_each_scene(root, folder):
  _, cache, inputs = opened(root, folder, 'scene')
  assert inputs.names == ('01', '02')
  videos = cache.train.videos
  expected = [
    mean_of_videos(cache.train.frames, videos[:2]),
    mean_of_videos(cache.train.frames, videos[2:]),
  ]
  np.testing.assert_array_equal(inputs.frame_means, expected)
  ids = mean_image_ids('scene', inputs.names, 'test', cache.test.videos)
  assert ids.tolist() == [0, 1]
  unknown = cache.test.videos[0]._replace(scene='13')
  with pytest.raises(UserError, match="no training video shows scene '13' of video 01_0001"):
    mean_image_ids('scene', inputs.names, 'test', [unknown])


def test_one_mean_image_for_the_set(root, folder):
  _, cache, inputs = opened(root, folder, 'set')
  assert inputs.names == ('set',)
  np.testing.assert_allclose(inputs.frame_means[0], cache.train.frames.mean(0) / 255, rtol=1e-6)
  assert mean_image_ids('set', inputs.names, 'test', cache.test.videos).tolist() == [0, 0]


def test_a_mean_image_for_each_video(root, folder):
  _, cache, inputs = opened(root, folder, 'video')
  expected = [
    np.mean(split.frames[video.first : video.first + video.num_frames], 0) / 255
    for split in (cache.train, cache.test)
    for video in split.videos
  ]
  np.testing.assert_allclose(inputs.frame_means, expected, atol=1e-6)
  assert inputs.frame_means.dtype == np.float32
  assert inputs.names == mean_image_names('video', cache.train, cache.test)
  ids = mean_image_ids('video', inputs.names, 'test', cache.test.videos)
  assert ids.tolist() == [4, 5]


@pytest.mark.slow
def test_both_input_pipelines_use_the_mean_image_of_each_clip(root, folder):
  settings, cache, inputs = opened(root, folder, 'scene')
  ids = mean_image_ids('scene', inputs.names, 'train', cache.train.videos)
  data = clip_feed.TrainingData(cache.train, inputs, ids)
  table = training_clips(cache.train.videos, window=16, strides=settings.clips.strides)
  streaming = clip_feed.batches(settings, data, 'streaming', table, 1)
  on_device = clip_feed.batches(settings, data, 'device_cached', table, 1)
  frames = np.asarray(cache.train.frames)
  for step in (1, 2):
    clips, clip_ids = next(streaming)
    first, stride, same_ids = next(on_device)
    expected, _ = clip_batch(
      table, batch_size=settings.train.batch_size, seed=settings.seed, step=step
    )
    np.testing.assert_array_equal(np.ravel(first), expected)
    np.testing.assert_array_equal(np.ravel(clip_ids), expected >= 68)
    np.testing.assert_array_equal(clip_ids, same_ids)
    gathered = gather_clips(frames, np.ravel(first), np.ravel(stride), window=16)
    np.testing.assert_array_equal(np.reshape(clips, gathered.shape), gathered)


@pytest.mark.parametrize('mode', ['set', 'scene', 'video'])
@pytest.mark.parametrize('input_pipeline', ['streaming', 'device_cached'])
def test_training_subtracts_each_clips_own_mean(root, folder, monkeypatch, input_pipeline, mode):
  settings, cache, inputs = opened(root, folder, mode)

  def make_step(*_, prepare, **__):
    return lambda state, clips, mean_image: prepare(clips, mean_image)

  monkeypatch.setattr(clip_feed, 'make_train_step', make_step)
  frames = np.asarray(cache.train.frames)
  first = np.asarray([0, 70])
  video_ids = mean_image_ids(mode, inputs.names, 'train', cache.train.videos)
  ids = video_ids[[0, 2]]
  clips = np.stack([frames[start : start + 16] for start in first])
  step = clip_feed.make_step(settings, UNIFORM_ROWS, input_pipeline)
  if input_pipeline == 'streaming':
    got = step(None, (clips, ids), inputs.input_means)
  else:
    got = step(None, (first, np.ones(2, int), ids), inputs.input_means, frames)
  expected = clips / 255 - inputs.input_means[ids][:, None]
  np.testing.assert_allclose(got[..., 0], expected, atol=1e-6)


@pytest.mark.parametrize('mode', ['set', 'scene', 'video'])
def test_scoring_subtracts_each_videos_own_mean(root, folder, mode):
  settings, cache, inputs = opened(root, folder, mode)
  windows = cut_windows(cache.test.videos, window=16)
  ids = mean_image_ids(mode, inputs.names, 'test', cache.test.videos)
  listed = window_list(windows, cache.test, ids)
  scorer = MeanInputScorer(make_recipe(settings, UNIFORM_ROWS), inputs.input_means, 16)
  got = window_errors(scorer, cache.test.frames, listed, batch_size=4)
  means = inputs.input_means[listed.ids][:, None]
  expected = np.square(cache.test.frames[windows.rows] / 255 - means).mean((2, 3))
  np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(('mode', 'count'), [('scene', 2), ('video', 6)])
def test_a_run_with_several_mean_images(root, folder, mode, count):
  settings = configured(root, folder, mode)
  metrics = session.train_and_evaluate(settings, folder / mode)
  assert InputStatistics.load(folder / mode, settings.data).input_means.shape == (count, 32, 32)
  assert metrics['protocol']['runs'][0]['input']['mean_image'] == mode
  assert set(metrics['scenes']) == {'01', '02'}
  with pytest.raises(UserError, match=f'one mean image, this run has {count}'):
    run_export.export_run(folder / mode, folder / f'{mode}.bundle')
  assert not (folder / f'{mode}.bundle').exists()
