"""The mean image of videos in a frame cache."""

from collections.abc import Iterable

import numpy as np

from a3dcae_jax.data.clip_reader import ClipReader
from a3dcae_jax.data.frame_cache import CachedVideo

_BLOCK_FRAMES = 256  # in memory at once; 256 frames of 255 still fit into uint16


def mean_of_videos(frames: np.ndarray, videos: Iterable[CachedVideo]) -> np.ndarray:
  """Compute the mean over all frames of some videos. Sums are exact.

  Args:
    frames: uint8 [N, H, W], the frames of a split.
    videos: videos of this split.

  Returns:
    float32 [H, W], for pixels in [0, 1].
  """
  reader = ClipReader(frames, window=1)
  total = np.zeros(frames.shape[1:], np.uint64)
  count = 0
  for video in videos:
    end = video.first + video.num_frames
    for start in range(video.first, end, _BLOCK_FRAMES):
      block = reader.span(start, min(start + _BLOCK_FRAMES, end))
      total += block.sum(axis=0, dtype=np.uint16)
    count += video.num_frames

  mean = total / (255.0 * count)
  return mean.astype(np.float32)
