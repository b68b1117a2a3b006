"""What nothing learnt scores: the baselines that stand beside every figure."""

import numpy as np

from a3dcae_jax.common.frame_rms import squared_gain

BASELINES = ('frame_difference', 'mean_image_distance')  # that stand beside every figure
NORMALISED = 'frame_difference_normalised'  # beside those of normalised frames


def baseline_errors(frames, videos, mean_image, *, target_rms=0.0):
  """Errors of the baselines, per frame.

      frame_difference:    mean over pixels of (x_t - x_{t-1})^2; a video's first frame takes the second's value
      mean_image_distance: mean over pixels of (x_t - mean_image)^2
      frame_difference_normalised: with a target_rms, the frame difference of frames less the mean image, normalised to it as the network gets them
                           (`training.frames.network_input`). The mean image's distance E needs no such twin: E 2 c^2 / (E + c^2) has the order of E

  Args: frames: uint8 [N, H, W]. videos: with `first`, `num_frames`. mean_image: float [H, W] in [0, 1], or one a video, [V, H, W].
  Returns: dict baseline -> float64 [N], on pixels in [0, 1]. One frame at a time is in memory.
  """
  distance, differences = (
    np.zeros(len(frames)),
    np.zeros((2 if target_rms else 1, len(frames))),
  )  # of frames as they are, and as normalised
  for video, mean in zip(
    videos, np.broadcast_to(mean_image, (len(videos), *frames.shape[1:])), strict=True
  ):
    previous = None
    for index in range(video.first, video.first + video.num_frames):
      frame = frames[index] / np.float32(255) - mean
      distance[index] = np.square(frame).mean(dtype=np.float64)
      seen = (
        [frame, frame * np.float32(np.sqrt(squared_gain(distance[index], target_rms)))]
        if target_rms
        else [frame]
      )
      if previous is not None:
        differences[:, index] = [
          np.square(new - old).mean(dtype=np.float64)
          for new, old in zip(seen, previous, strict=True)
        ]
      previous = seen
    if video.num_frames > 1:
      differences[:, video.first] = differences[:, video.first + 1]
  baselines = dict(zip(BASELINES, (differences[0], distance), strict=True))
  return baselines | {NORMALISED: differences[1]} if target_rms else baselines
