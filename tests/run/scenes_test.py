"""A mean image for each camera or video: used in training, resident and streamed, and in scoring; one for the set changes nothing."""

import dataclasses
import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import gather_clips
from a3dcae_jax.data.frame_cache import mean_of_videos
from a3dcae_jax.data.windows import test_windows, training_clips
from a3dcae_jax.evaluation.baselines import video_means
from a3dcae_jax.evaluation.scorer import Detector, window_errors
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.run import session, train
from a3dcae_jax.run.datasets import prepare_data
from configs import shanghaitech
from tests.data.footage_helper import write_frames

SHADES = {'01': 60, '02': 190}  # grey levels of the two cameras


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A dark and a bright camera in ShanghaiTech's layout: two training videos and one test video each."""
  root, rng = tmp_path_factory.mktemp('footage'), np.random.default_rng(0)
  for scene, shade in SHADES.items():
    for split, name in (('training', '001'), ('training', '002'), ('testing', '0001')):
      write_frames(
        root / split / 'frames' / f'{scene}_{name}',
        rng.integers(shade - 40, shade + 40, (34, 32, 32), dtype=np.uint8),
      )
    (root / 'testing' / 'test_frame_mask').mkdir(exist_ok=True)
    np.save(root / 'testing' / 'test_frame_mask' / f'{scene}_0001.npy', np.arange(34) > 20)
  return root


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('runs')


def configured(root, folder, **changes):
  config = shanghaitech.get_config('tiny')
  config.update_from_flattened_dict(
    {
      'data.root': str(root),
      'data.cache_dir': str(folder / 'caches'),
      'data.mean_image': 'scene',
      'train.steps': 2,
    }
    | changes
  )
  return config


def test_means_and_whose_they_are(root, folder):
  cache = prepare_data(**configured(root, folder).data)
  whole = prepare_data(**configured(root, folder, **{'data.mean_image': 'set'}).data)
  assert cache.folder == whole.folder and cache.scenes == ('01', '02')
  np.testing.assert_array_equal(
    cache.mean_image(),
    [
      mean_of_videos(cache.train.frames, cache.train.videos[:2]),
      mean_of_videos(cache.train.frames, cache.train.videos[2:]),
    ],
  )
  np.testing.assert_allclose(cache.mean_image().mean(0), whole.mean_image(), atol=1e-6)
  np.testing.assert_allclose(whole.mean_image(), cache.train.frames.mean(0) / 255, rtol=1e-6)
  assert (
    cache.scene_of(cache.test, np.asarray([0, 33, 34, 67])).tolist() == [0, 0, 1, 1]
    and whole.scene_of(whole.test, np.zeros(1, int)) is None
  )
  assert video_means(cache).shape == (2, 32, 32) and video_means(whole).shape == (32, 32)
  other = cache.test.videos[0]._replace(scene='13')
  with pytest.raises(UserError, match="no training video shows scene '13' of video 01_0001"):
    cache.scene_of(dataclasses.replace(cache.test, videos=(other,)), np.zeros(1, int))
  with pytest.raises(UserError, match="data.mean_image 'camera': known are set, scene"):
    prepare_data(**configured(root, folder, **{'data.mean_image': 'camera'}).data)


def test_a_mean_for_each_video(root, folder):
  cache = prepare_data(**configured(root, folder, **{'data.mean_image': 'video'}).data)
  expected = [
    np.mean(split.frames[video.first : video.first + video.num_frames], 0) / 255
    for split in (cache.train, cache.test)
    for video in split.videos
  ]
  assert (
    cache.mean_shape == cache.mean_image().shape == (6, 32, 32)
    and cache.mean_image().dtype == np.float32
  )
  np.testing.assert_allclose(cache.mean_image(), expected, atol=1e-6)
  assert cache.scene_of(cache.train, np.asarray([0, 34, 135])).tolist() == [
    0,
    1,
    3,
  ] and cache.scene_of(cache.test, np.asarray([33, 34])).tolist() == [4, 5]
  np.testing.assert_array_equal(video_means(cache), cache.mean_image()[4:])


@pytest.mark.slow
def test_both_feedings_give_each_clip_its_scene(root, folder):
  config = configured(root, folder)
  cache = prepare_data(**config.data)
  table = training_clips(cache.train.videos, **config.clips)
  streamed, resident = (
    train.batches(config, input_pipeline, cache, table, 1)
    for input_pipeline in ('streaming', 'device_cached')
  )
  for step, (clips, scene), (first, stride, same) in itertools.islice(
    zip(itertools.count(1), streamed, resident, strict=False), 2
  ):
    expected = clip_batch(table, batch_size=config.train.batch_size, seed=config.seed, step=step)
    np.testing.assert_array_equal(np.ravel(first), expected[0])
    np.testing.assert_array_equal(np.ravel(scene), expected[0] >= 68)
    np.testing.assert_array_equal(scene, same)
    gathered = gather_clips(
      np.asarray(cache.train.frames), np.ravel(first), np.ravel(stride), window=16
    )
    np.testing.assert_array_equal(np.reshape(clips, gathered.shape), gathered)


@pytest.mark.parametrize('means', ['scene', 'video'])
@pytest.mark.parametrize('input_pipeline', ['streaming', 'device_cached'])
def test_training_subtracts_each_clips_own_mean(root, folder, monkeypatch, input_pipeline, means):
  config = configured(root, folder, **{'data.mean_image': means})
  cache = prepare_data(**config.data)
  monkeypatch.setattr(
    train, 'make_train_step', lambda *_, **__: lambda state, clips, mean: network_input(clips, mean)
  )
  frames, first = np.asarray(cache.train.frames), np.asarray([0, 70])
  scene = cache.scene_of(cache.train, first)
  clips = np.stack([frames[start : start + 16] for start in first])
  batch = (clips, scene) if input_pipeline == 'streaming' else (first, np.ones(2, int), scene)
  shared = (cache.mean_image(),) + ((frames,) if input_pipeline == 'device_cached' else ())
  got = train.make_step(config, input_pipeline)(None, batch, *shared)
  np.testing.assert_allclose(
    got[..., 0], clips / 255 - cache.mean_image()[scene][:, None], atol=1e-6
  )


@pytest.mark.parametrize('means', ['scene', 'video'])
def test_scoring_subtracts_each_videos_own_mean(root, folder, means):
  cache = prepare_data(**configured(root, folder, **{'data.mean_image': means}).data)
  windows = test_windows(cache.test.videos, window=16)

  def program(weights, mean_image, clips):
    maps = jnp.square(
      network_input(clips, mean_image)[..., 0]
    )  # the errors of a network that gives back nothing
    return maps.mean((2, 3)), maps

  scenes = cache.scene_of(cache.test, windows.first)
  detector = Detector(program, {}, jnp.asarray(cache.mean_image()), None, None, 0)
  got = window_errors(
    detector, cache.test.frames, windows.first, window=16, batch_size=4, scenes=scenes
  )
  rows = windows.first[:, None] + np.arange(16)
  expected = np.square(cache.test.frames[rows] / 255 - cache.mean_image()[scenes][:, None]).mean(
    (2, 3)
  )
  np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(('means', 'count'), [('scene', 2), ('video', 6)])
def test_a_run_with_several_mean_images(root, folder, means, count):
  config, run = configured(root, folder, **{'data.mean_image': means}), folder / means
  session.train_and_evaluate(config, run)
  assert np.load(run / 'mean_image.npy').shape == (count, 32, 32)
  metrics = json.loads((run / 'metrics.json').read_text())
  assert metrics['data']['mean_image'] == means and set(metrics['scenes']) == {'01', '02'}
