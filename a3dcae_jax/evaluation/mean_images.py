"""Mean images of the training videos, and which of them each video uses.

There are always S mean images [S, H, W]: one for the set, one per scene, or one per video. The mean
image id of a video is the index of the mean image that it uses.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.optical_flow import flow_images
from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.evaluation.flow_blocks import flow_blocks

MeanFunction = Callable[[np.ndarray, Sequence[CachedVideo]], np.ndarray]


def mean_image_names(mode: str, train: Split, test: Split) -> tuple[str, ...]:
  """Name the mean images of a data set, in their order.

  Args:
    mode: 'set' for one, 'scene' for one per camera, 'video' for one per video.
    train: the training split.
    test: the test split.
  """
  if mode == 'set':
    return ('set',)
  if mode == 'scene':
    return tuple(sorted({video.scene for video in train.videos}))
  names = [f'train/{video.name}' for video in train.videos]
  names += [f'test/{video.name}' for video in test.videos]
  return tuple(names)


def mean_image_ids(
  mode: str, names: Sequence[str], split_name: str, videos: Sequence[CachedVideo]
) -> np.ndarray:
  """Return the mean image id of each video, int32 [V].

  Args:
    mode: as in `mean_image_names`.
    names: the names that `mean_image_names` gave.
    split_name: 'train' or 'test'.
    videos: videos of that split.

  Raises:
    UserError: for a video of a scene that has no training video.
  """
  keys = {
    'set': lambda video: 'set',
    'scene': lambda video: video.scene,
    'video': lambda video: f'{split_name}/{video.name}',
  }
  numbers = {name: number for number, name in enumerate(names)}
  ids = []
  for video in videos:
    key = keys[mode](video)
    if key not in numbers:
      raise UserError(
        f'data.mean_image {mode}: no training video shows {mode} {key!r} of video {video.name}; '
        'use data.mean_image=set'
      )
    ids.append(numbers[key])
  return np.asarray(ids, np.int32)


def find_mean_images(mode: str, mean: MeanFunction, train: Split, test: Split) -> np.ndarray:
  """Compute the mean images in the order of their names, float32 [S, H, W]."""
  if mode == 'set':
    images = [mean(train.frames, train.videos)]
  elif mode == 'scene':
    images = []
    for scene in mean_image_names(mode, train, test):
      videos = [video for video in train.videos if video.scene == scene]
      images.append(mean(train.frames, videos))
  else:
    images = [mean(split.frames, [video]) for split in (train, test) for video in split.videos]
  return np.stack(images)


def mean_flow(frames: np.ndarray, videos: Sequence[CachedVideo]) -> np.ndarray:
  """Compute the mean flow image of a sample of video frames, float32 [H, W]."""
  total = np.zeros(frames.shape[1:], np.float64)
  count = 0
  for block in flow_blocks(frames, videos):
    total += np.asarray(_flow_sum(block), np.float64)
    count += len(block)
  return (total / count).astype(np.float32)


@jax.jit
def _flow_sum(frames: jax.Array) -> jax.Array:
  return flow_images(frames[None].astype(jnp.float32) / 255).sum((0, 1))
