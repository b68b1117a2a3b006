"""Short blocks sampled from training videos, for statistics of optical flow."""

from collections.abc import Iterator, Sequence

import numpy as np

from a3dcae_jax.data.frame_cache import CachedVideo

BLOCK_FRAMES = 16
MAX_BLOCKS = 1024


def flow_blocks(frames: np.ndarray, videos: Sequence[CachedVideo]) -> Iterator[np.ndarray]:
  """Yield blocks of consecutive frames, evenly spread over the videos.

  Blocks have `BLOCK_FRAMES` frames and lie back to back. A video that is shorter than a block is
  one block.

  Yields:
    uint8 [T, H, W]; at most `MAX_BLOCKS` blocks.
  """
  spans = []
  for video in videos:
    length = min(BLOCK_FRAMES, video.num_frames)
    last_start = max(video.num_frames - BLOCK_FRAMES, 0)
    spans += [(video.first + start, length) for start in range(0, last_start + 1, BLOCK_FRAMES)]
  every = -(-len(spans) // MAX_BLOCKS)
  for first, length in spans[::every]:
    yield np.asarray(frames[first : first + length])
