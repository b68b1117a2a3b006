"""The synthetic set, drawn from a seed."""

import pathlib

from a3dcae_jax.data.synthetic import SceneSpec, synthetic_videos
from a3dcae_jax.data.video import Video

LABEL_SETS = ('official',)
SIZES = {'train': (12, 200), 'test': (8, 150)}  # videos, frames per video


def layout(root: str | pathlib.Path) -> str:
  """Describe the source of the videos."""
  del root
  return 'made from a seed'


def videos(
  root: str | pathlib.Path,
  split: str,
  *,
  height: int = 64,
  width: int = 64,
  num_videos: int = 0,
  frames_per_video: int = 0,
  seed: int = 0,
) -> list[Video]:
  """Draw the videos of a split.

  Args:
    root: not used.
    split: 'train' or 'test'.
    height: of the frames, in pixels.
    width: of the frames, in pixels.
    num_videos: 0 for the set's own number.
    frames_per_video: 0 for the set's own number.
    seed: of everything that is drawn.
  """
  del root
  default_videos, default_frames = SIZES[split]
  return synthetic_videos(
    split,
    num_videos=num_videos or default_videos,
    frames_per_video=frames_per_video or default_frames,
    seed=seed,
    spec=SceneSpec(height=height, width=width),
  )
