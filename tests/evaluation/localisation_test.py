"""Pixel metrics: of the clips with masks, from error maps averaged over overlapping windows."""

import threading

import numpy as np
import pytest

from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.data.windows import test_windows as cut_windows
from a3dcae_jax.evaluation.localisation import Localiser


def localise(split, maps):
  windows = cut_windows(split.videos, window=8)
  return taught(Localiser(split, windows), windows, maps[windows.rows]).metrics()


def taught(localiser, windows, window_maps, share=slice(None)):
  mine = np.arange(len(windows.first))[share]
  for start in range(0, len(mine), 3):  # in batches, as a run hands them in
    batch = mine[start : start + 3]
    localiser.add(batch[0], window_maps[batch])
  return localiser


def meeting(count):
  """`gather` functions of `count` threads, as `processes.gather` is one of processes."""
  slots, barrier = [None] * count, threading.Barrier(count, timeout=20)

  def of(index):
    def gather(array):
      slots[index] = np.asarray(array)
      barrier.wait()
      both = np.stack(slots)
      barrier.wait()
      return both

    return gather

  return [of(index) for index in range(count)]


def masked_video(rng, frames=26):
  masks = np.zeros((frames, 32, 32), np.uint8)
  masks[9:20, 4:20, 8:24] = 1
  split = Split(
    np.zeros((frames, 32, 32), np.uint8), (CachedVideo('a', 0, frames, '', True),), masks=masks
  )
  windows = cut_windows(split.videos, window=8, step=3, stride=2)
  maps = rng.random((len(windows.first), 8, 32, 32)).astype(np.float32) + 0.3 * masks[windows.rows]
  return split, windows, maps


def test_a_frame_counts_once_with_the_mean_of_its_windows(rng):
  split, windows, maps = masked_video(rng)
  scale = rng.uniform(0.5, 2, 8).astype(np.float32)
  mean = np.stack(
    [(maps / scale[:, None, None])[windows.rows == frame].mean(0) for frame in range(26)]
  )
  found = taught(Localiser(split, windows, scale), windows, maps).metrics()
  once = cut_windows(split.videos, window=13)  # back to back: each frame in one window
  expected = taught(Localiser(split, once), once, mean[once.rows]).metrics()
  assert (
    found.pop('pixel_auc') == pytest.approx(expected.pop('pixel_auc'), rel=1e-5)
    and found == expected
  )


def test_processes_share_the_windows_of_a_frame(rng):
  split, windows, maps = masked_video(rng)
  alone, middle = (
    taught(Localiser(split, windows), windows, maps).metrics(),
    len(windows.first) // 2,
  )
  parts = [
    taught(Localiser(split, windows), windows, maps, share)
    for share in (slice(0, middle), slice(middle, None))
  ]
  threads = [
    threading.Thread(target=part.join, args=(gather,))
    for part, gather in zip(parts, meeting(2), strict=True)
  ]
  [thread.start() for thread in threads]
  [thread.join() for thread in threads]
  assert parts[0].metrics() == parts[1].metrics()
  np.testing.assert_allclose(parts[0].metrics()['pixel_auc'], alone['pixel_auc'], rtol=1e-6)
  assert parts[0].metrics()['rbdc'] == alone['rbdc']


def test_clips_without_masks_are_left_out(rng):
  frames, lengths = np.zeros((52, 32, 32), np.uint8), (20, 17, 15)
  firsts = np.r_[0, np.cumsum(lengths)][:-1]
  maps = rng.random((52, 32, 32)).astype(np.float32)
  masks = np.zeros_like(frames)
  for start, stop in ((20, 28), (37, 52)):
    masks[start:stop, 4:20, 8:24] = 1
    maps[start:stop, 6:20, 8:24] += 0.7
  videos = [
    CachedVideo(name, int(first), length, '', name != 'a')
    for name, first, length in zip('abc', firsts, lengths, strict=True)
  ]
  some = localise(Split(frames, tuple(videos), masks=masks), maps)
  alone = localise(
    Split(frames[20:], tuple(v._replace(first=v.first - 20) for v in videos[1:]), masks=masks[20:]),
    maps[20:],
  )
  assert some.pop('rule') == f'{alone.pop("rule")}; over the 2 of 3 videos that have masks'
  assert some.pop('of_videos') == 3 and alone.pop('of_videos') == 2
  assert (
    some == alone and some['videos'] == ['b', 'c'] and some['frames'] == 32 and some['tracks'] == 2
  )
  assert some['pixel_auc'] > 0.85
