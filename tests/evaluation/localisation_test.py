"""Pixel metrics of clips with masks, from maps averaged over windows."""

import threading

import numpy as np
import pytest

from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.data.windows import test_windows as cut_windows
from a3dcae_jax.evaluation.localisation import Localiser


def localise(split, maps):
  """Return the metrics of error maps [N, H, W] in back-to-back windows."""
  windows = cut_windows(split.videos, window=8)
  return filled(Localiser(split, windows), windows, maps[windows.rows]).metrics()


def filled(localiser, windows, window_maps, share=slice(None)):
  """Add a share of the windows to a localiser, in batches as a run does."""
  mine = np.arange(len(windows.first))[share]
  for start in range(0, len(mine), 3):
    batch = mine[start : start + 3]
    localiser.add(batch[0], window_maps[batch])
  return localiser


def gather_functions(count):
  """Return a function like `processes.gather` for each of `count` threads."""
  slots = [None] * count
  barrier = threading.Barrier(count, timeout=20)

  def make_gather(index):
    def gather(array):
      slots[index] = np.asarray(array)
      barrier.wait()
      gathered = np.stack(slots)
      barrier.wait()
      return gathered

    return gather

  return [make_gather(index) for index in range(count)]


def masked_video(rng, frames=26):
  """Return a split with one video, its overlapping windows and their maps."""
  masks = np.zeros((frames, 32, 32), np.uint8)
  masks[9:20, 4:20, 8:24] = 1
  video = CachedVideo('a', 0, frames, '', True)
  split = Split(np.zeros((frames, 32, 32), np.uint8), (video,), masks=masks)
  windows = cut_windows(split.videos, window=8, step=3, stride=2)
  noise = rng.random((len(windows.first), 8, 32, 32)).astype(np.float32)
  return split, windows, noise + 0.3 * masks[windows.rows]


def test_a_frame_counts_once_with_the_mean_of_its_windows(rng):
  split, windows, maps = masked_video(rng)
  scale = rng.uniform(0.5, 2, 8).astype(np.float32)
  scaled = maps / scale[:, None, None]
  mean = np.stack([scaled[windows.rows == frame].mean(0) for frame in range(26)])
  found = filled(Localiser(split, windows, scale), windows, maps).metrics()
  once = cut_windows(split.videos, window=13)  # back to back: each frame in one window
  expected = filled(Localiser(split, once), once, mean[once.rows]).metrics()
  assert found.pop('pixel_auc') == pytest.approx(expected.pop('pixel_auc'), rel=1e-5)
  assert found == expected


def test_processes_share_the_windows_of_a_frame(rng):
  split, windows, maps = masked_video(rng)
  alone = filled(Localiser(split, windows), windows, maps).metrics()
  middle = len(windows.first) // 2
  parts = []
  threads = []
  shares = (slice(0, middle), slice(middle, None))
  for share, gather in zip(shares, gather_functions(2), strict=True):
    part = filled(Localiser(split, windows), windows, maps, share)
    parts.append(part)
    threads.append(threading.Thread(target=part.join, args=(gather,)))
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  found = parts[0].metrics()
  assert found == parts[1].metrics()
  np.testing.assert_allclose(found['pixel_auc'], alone['pixel_auc'], rtol=1e-6)
  assert found['rbdc'] == alone['rbdc']


def test_clips_without_masks_are_left_out(rng):
  frames = np.zeros((52, 32, 32), np.uint8)
  maps = rng.random((52, 32, 32)).astype(np.float32)
  masks = np.zeros_like(frames)
  for start, stop in ((20, 28), (37, 52)):
    masks[start:stop, 4:20, 8:24] = 1
    maps[start:stop, 6:20, 8:24] += 0.7
  without_masks = CachedVideo('a', 0, 20, '', False)
  videos = (CachedVideo('b', 20, 17, '', True), CachedVideo('c', 37, 15, '', True))
  some = localise(Split(frames, (without_masks, *videos), masks=masks), maps)
  moved = tuple(video._replace(first=video.first - 20) for video in videos)
  alone = localise(Split(frames[20:], moved, masks=masks[20:]), maps[20:])
  assert some.pop('rule') == f'{alone.pop("rule")}; over the 2 of 3 videos that have masks'
  assert some.pop('of_videos') == 3
  assert alone.pop('of_videos') == 2
  assert some == alone
  assert some['videos'] == ['b', 'c']
  assert some['frames'] == 32
  assert some['tracks'] == 2
  assert some['pixel_auc'] > 0.85
