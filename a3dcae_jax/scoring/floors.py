"""What nothing learnt scores: the floors that stand beside every figure."""

import numpy as np

FLOORS = ('frame_difference', 'mean_image_distance')


def floor_errors(frames, videos, mean_image):
  """Errors of the two floors, per frame.

      frame_difference:    mean over pixels of (x_t - x_{t-1})^2; a video's first frame takes the second's value
      mean_image_distance: mean over pixels of (x_t - mean_image)^2

  Args: frames: uint8 [N, H, W]. videos: with `first`, `num_frames`. mean_image: float [H, W] in [0, 1], or one a video, [V, H, W].
  Returns: dict floor -> float64 [N], on pixels in [0, 1]. One frame at a time is in memory.
  """
  difference, distance = np.zeros(len(frames)), np.zeros(len(frames))
  for video, mean in zip(videos, np.broadcast_to(mean_image, (len(videos), *frames.shape[1:])), strict=True):
    previous = None
    for index in range(video.first, video.first + video.num_frames):
      frame = frames[index] / np.float32(255)
      distance[index] = np.square(frame - mean).mean(dtype=np.float64)
      if previous is not None:
        difference[index] = np.square(frame - previous).mean(dtype=np.float64)
      previous = frame
    if video.num_frames > 1:
      difference[video.first] = difference[video.first + 1]
  return {'frame_difference': difference, 'mean_image_distance': distance}
