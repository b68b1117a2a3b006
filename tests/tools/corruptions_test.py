"""Disturbances are what they say, and change no label."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools.validation import corruptions
from tools.validation.corruptions import disturbed
from tools.validation.pseudo_anomalies import write_pseudo_cache

MEAN = np.full((64, 64), 100.0)


def grey(frames=30):
  """A still scene of random pixels, 40 to 199."""
  return np.broadcast_to(
    np.random.default_rng(0).integers(40, 200, (64, 64), dtype=np.uint8), (frames, 64, 64)
  )


def test_light_is_one_gain_and_offset():
  frames = grey()
  made = disturbed(frames, MEAN, 'light', np.random.default_rng(1)).astype(float)
  inside = (made > 0) & (made < 255)
  gain, offset = np.polyfit(frames[inside], made[inside], 1)
  assert 0.85 <= gain <= 1.15 and abs(offset) < 12.5 and abs(gain - 1) > 0.001
  np.testing.assert_allclose(
    made[inside], gain * frames[inside] + offset, atol=1.0
  )  # rounded to whole grey levels, from which the line was found


@pytest.mark.parametrize('seed', range(4))
def test_the_camera_stands_elsewhere(seed):
  frames = grey()
  made = disturbed(frames, MEAN, 'shift', np.random.default_rng(seed))
  found = [
    (dy, dx)
    for dy in range(-2, 3)
    for dx in range(-2, 3)
    if np.array_equal(made[:, 2:-2, 2:-2], frames[:, 2 + dy : 62 + dy, 2 + dx : 62 + dx])
  ]
  assert len(found) == 1 and found != [(0, 0)] and made.shape == frames.shape


def test_noise_has_its_strength_and_changes_every_frame():
  difference = disturbed(grey(), MEAN, 'noise', np.random.default_rng(0)).astype(float) - grey()
  np.testing.assert_allclose(
    difference.std(), np.hypot(corruptions.NOISE_STD, 12**-0.5), rtol=0.02
  )  # and that of rounding
  assert abs(np.corrcoef(difference[0].ravel(), difference[1].ravel())[0, 1]) < 0.1


def test_a_disturbed_cache(tmp_path):
  source = prepare_cache(
    'synthetic',
    root='',
    cache_dir=tmp_path / 'caches',
    height=64,
    width=64,
    label_set='',
    options={'num_videos': 2, 'frames_per_video': 60},
  )
  names = [video.name for video in source.train.videos]
  plain, cache = (
    FrameCache.open(
      write_pseudo_cache(
        source, tmp_path / name, holdout=[names[0]], movers='riders', disturb=disturb
      )
    )
    for name, disturb in (('plain', ''), ('disturbed', 'turn'))
  )
  assert (
    [video.name for video in cache.train.videos]
    == [video.name for video in plain.train.videos]
    == names[1:]
  )
  np.testing.assert_array_equal(
    cache.train.frames, source.train.frames[source.train.videos[1].first :]
  )
  videos = {
    video.name: np.s_[video.first : video.first + video.num_frames] for video in cache.test.videos
  }
  assert [name.split('-')[2] for name in videos if name.count('-') == 2] == [
    'light',
    'shift',
    'noise',
    'bystander',
    'light',
  ]
  for video in plain.test.videos:
    same, changed = (
      next(
        videos[name] for name in videos if name.startswith(video.name) and name.count('-') == dashes
      )
      for dashes in (1, 2)
    )
    np.testing.assert_array_equal(
      cache.test.frames[same], plain.test.frames[video.first : video.first + video.num_frames]
    )
    np.testing.assert_array_equal(cache.test.labels[same], cache.test.labels[changed])
    assert (cache.test.frames[same] != cache.test.frames[changed]).any((1, 2)).all()
  bystander = next(name for name in videos if name.endswith('bystander'))
  touched = (
    cache.test.frames[videos[bystander]]
    != cache.test.frames[videos[bystander.removesuffix('-bystander')]]
  ).any(0)
  assert 0.005 < touched.mean() < 0.5  # somebody, in one place
  with pytest.raises(UserError, match='there is no training video 99; there are'):
    write_pseudo_cache(source, tmp_path / 'other', holdout=['99'])
  with pytest.raises(
    UserError, match="disturb 'rain': known are turn, light, shift, noise, bystander"
  ):
    write_pseudo_cache(source, tmp_path / 'other', holdout=1, disturb='rain')
  with pytest.raises(UserError, match=r'holdout \(=2\) must leave some of the 2 training videos'):
    write_pseudo_cache(source, tmp_path / 'other', holdout=2)
