"""The synthetic set: made from a seed, nothing to download."""

from a3dcae_jax.data.synthetic import SceneSpec, synthetic_videos

LABEL_SETS = ('official',)
LAYOUT = 'made from a seed'
SIZES = {'train': (12, 200), 'test': (8, 150)}  # videos, frames a video


def videos(root, split, *, height=64, width=64, num_videos=0, frames_per_video=0, seed=0):
  """Videos of `split`; `root` is not read. `num_videos`, `frames_per_video`: 0 takes the set's own size."""
  del root
  default_videos, default_frames = SIZES[split]
  return synthetic_videos(
    split,
    num_videos=num_videos or default_videos,
    frames_per_video=frames_per_video or default_frames,
    seed=seed,
    spec=SceneSpec(height=height, width=width),
  )
