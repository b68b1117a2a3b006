"""Pixel metrics where some test clips alone have masks: they are those of these clips by themselves."""

import numpy as np

from a3dcae_jax.data.store import Split, StoredVideo
from a3dcae_jax.data.windows import test_windows
from a3dcae_jax.runs.localise import Localiser


def localise(split, maps):
  windows = test_windows(split.videos, window=8)
  localiser = Localiser.of(split, windows)
  for start in range(0, len(windows.first), 3):  # in batches, as a run hands them in
    rows = windows.first[start:start + 3, None] + np.arange(8)
    localiser.add(start, maps[rows])
  return localiser.metrics()


def test_clips_without_masks_are_left_out(rng):
  frames, lengths = np.zeros((52, 32, 32), np.uint8), (20, 17, 15)
  firsts = np.r_[0, np.cumsum(lengths)][:-1]
  maps = rng.random((52, 32, 32)).astype(np.float32)
  masks = np.zeros_like(frames)
  for start, stop in ((20, 28), (37, 52)):
    masks[start:stop, 4:20, 8:24] = 1
    maps[start:stop, 6:20, 8:24] += 0.7
  videos = [StoredVideo(name, int(first), length, '', name != 'a') for name, first, length in zip('abc', firsts, lengths, strict=True)]
  some = localise(Split(frames, tuple(videos), masks=masks), maps)
  alone = localise(Split(frames[20:], tuple(v._replace(first=v.first - 20) for v in videos[1:]), masks=masks[20:]), maps[20:])
  assert some.pop('rule') == f'{alone.pop("rule")}; over the 2 of 3 videos that have masks'
  assert some.pop('of_videos') == 3 and alone.pop('of_videos') == 2
  assert some == alone and some['videos'] == ['b', 'c'] and some['frames'] == 32 and some['tracks'] == 2
  assert some['pixel_auc'] > 0.85
