"""The blocks of training footage that flow is looked at in, to say what is usual of it."""

import numpy as np

BLOCK = 16  # frames that flow is found in at once
MOST_BLOCKS = 1024  # evenly spread


def flow_blocks(frames, videos):
  """uint8 [T, H, W] of `videos`, one after another: at most `MOST_BLOCKS` of `BLOCK` frames (a shorter video's all), back to back, evenly spread."""
  spans = [
    (video.first + start, min(BLOCK, video.num_frames))
    for video in videos
    for start in range(0, max(video.num_frames - BLOCK, 0) + 1, BLOCK)
  ]
  for first, length in spans[:: -(-len(spans) // MOST_BLOCKS)]:
    yield np.asarray(frames[first : first + length])
