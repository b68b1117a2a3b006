"""The pseudo-anomaly validation set: validation without test labels.

The last training videos of a frame cache are held out. They become test videos, one copy for each
type of abnormal motion, which is pasted into it. There are two families of types. `coarse` is

    fast    a person cut out of the video crosses the scene at several times a walker's speed
    large   the same, enlarged, at about twice a walker's speed
    rush    the middle of the video is played three times as fast

These are fast: the frame difference alone finds them. `subtle` types are hardly faster than
walkers, see `movers`.

Settings such as the learning rate, lambda or the error of a frame can be chosen by the results on
this set. The real test set remains unseen.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.frame_cache import CachedVideo, FrameCache, write_index
from a3dcae_jax.data.mean_image import mean_of_videos
from tools.validation import movers
from tools.validation.corruptions import CORRUPTIONS, corrupted
from tools.validation.sprites import moving_blobs, opacity_of, paste

REFERENCE_PX = 112  # frame height at which speeds are specified
SPEED_UP = 3  # factor of 'rush'
MIXED_SHARE = (0.15, 0.85)  # share of abnormal frames in a video with enough of both kinds
MIXED_TRIES = 50
SPRITE_TRIES = 200
ALL_IN_TURN = 'turn'  # the next corruption for each video


class _CoarseType(NamedTuple):
  """Ranges of speed, in pixels per frame at REFERENCE_PX, and of relative size."""

  speed: tuple[float, float]
  scale: tuple[float, float]


COARSE_TYPES = {
  'fast': _CoarseType((2.0, 4.5), (0.9, 1.2)),
  'large': _CoarseType((1.2, 2.5), (1.5, 2.2)),
  'rush': None,
}
FAMILIES = ('coarse', 'subtle')

# (frames, mean image, type, rng) -> (frames, labels)
_Maker = Callable[[np.ndarray, np.ndarray, str, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """The pseudo-anomalies to make.

  Attributes:
    family: 'coarse' or 'subtle'.
    types: names of the types, in the order in which they are made; () for the family's default.
    copies: videos per type and held-out video, each with new random numbers.
    mixed: whether 15 to 85 % of the frames of every video are abnormal; other draws are dropped.
      Eq. 14 then makes sense for every video.
    corruption: a name in `CORRUPTIONS`, or 'turn' for all in turn. A corrupted copy of each video
      is then added. '' for none.
    seed: seed of all random numbers.
  """

  family: str = 'coarse'
  types: tuple[str, ...] = ()
  copies: int = 1
  mixed: bool = False
  corruption: str = ''
  seed: int = 0


class _MadeVideo(NamedTuple):
  """A test video: frames uint8 [N, H, W] and labels uint8 [N]."""

  name: str
  frames: np.ndarray
  labels: np.ndarray


def write_pseudo_cache(
  cache: FrameCache,
  folder: str | pathlib.Path,
  *,
  holdout: int | Sequence[str],
  recipe: Recipe | None = None,
) -> pathlib.Path:
  """Write a frame cache with pseudo-anomalies, whole or not at all.

  Its training videos are those of `cache` without the held-out ones. Its test videos are the
  held-out ones with pseudo-anomalies.

  Args:
    cache: an opened frame cache.
    folder: folder of the new cache, which is returned.
    holdout: number of training videos that are held out (the last ones), or their names.
    recipe: pseudo-anomalies to make.

  Raises:
    UserError: if `holdout` leaves nothing to train on or names an unknown video, the recipe has an
      unknown or impossible value, or no draw is mixed.
  """
  recipe = recipe or Recipe()
  _check_recipe(recipe)
  kept, held = _split_videos(cache.train.videos, holdout)
  made = _make_videos(cache, held, recipe)
  if recipe.corruption:
    made = _with_corrupted(cache, made, recipe)

  folder = pathlib.Path(folder)
  with atomic_dir(folder) as temporary:
    shape = cache.train.frames.shape[1:]
    with ArrayWriter(temporary / 'train.npy', shape) as writer:
      for video in kept:
        writer.extend(_frames_of(cache, video))
    with ArrayWriter(temporary / 'test.npy', shape) as writer:
      for video in made:
        writer.extend(video.frames)
    np.save(temporary / 'labels.npy', np.concatenate([video.labels for video in made]))
    write_index(temporary, _new_index(cache, kept, held, made, recipe))
  return folder


def _types_of(family: str) -> tuple[Iterable[str], Iterable[str], _Maker]:
  """Return (all types, default types, the function that makes them) of a family."""
  if family == 'coarse':
    return COARSE_TYPES, COARSE_TYPES, _make_coarse
  return movers.TYPES, movers.DEFAULT_TYPES, movers.make_mover


def _check_recipe(recipe: Recipe) -> None:
  if recipe.family not in FAMILIES:
    raise UserError(f'family {recipe.family!r}: known are {", ".join(FAMILIES)}')
  if recipe.corruption not in ('', ALL_IN_TURN, *CORRUPTIONS):
    known = ', '.join((ALL_IN_TURN, *CORRUPTIONS))
    raise UserError(f'corruption {recipe.corruption!r}: known are {known}')
  known, _, _ = _types_of(recipe.family)
  unknown = sorted(set(recipe.types) - set(known))
  if unknown:
    raise UserError(
      f'types: {recipe.family!r} has no {", ".join(unknown)}; it has {", ".join(known)}'
    )
  if recipe.copies < 1:
    raise UserError(f'copies (={recipe.copies}) must be at least 1')


def _split_videos(
  videos: Sequence[CachedVideo], holdout: int | Sequence[str]
) -> tuple[list[CachedVideo], list[CachedVideo]]:
  """Return (the videos that stay in training, the held-out videos)."""
  count = holdout if isinstance(holdout, int) else len(holdout)
  if not 0 < count < len(videos):
    raise UserError(f'holdout (={holdout}) must leave some of the {len(videos)} training videos')

  names = [video.name for video in videos]
  held_names = names[-count:] if isinstance(holdout, int) else holdout
  unknown = sorted(set(held_names) - set(names))
  if unknown:
    raise UserError(
      f'holdout: there is no training video {", ".join(unknown)}; there are {", ".join(names)}'
    )

  kept = [video for video in videos if video.name not in held_names]
  held = [video for video in videos if video.name in held_names]
  return kept, held


def _make_videos(
  cache: FrameCache, held: Sequence[CachedVideo], recipe: Recipe
) -> list[_MadeVideo]:
  """Make a video of each type from each held-out video."""
  rng = np.random.default_rng(recipe.seed)
  mean = _mean_image(cache)
  _, default_types, make = _types_of(recipe.family)
  if recipe.mixed:
    make = _mixed(make)

  made = []
  for video in held:
    for kind in recipe.types or default_types:
      for copy in range(recipe.copies):
        frames, labels = make(_frames_of(cache, video), mean, kind, rng)
        number = f'-{copy + 1}' if recipe.copies > 1 else ''
        made.append(_MadeVideo(f'{video.name}-{kind}{number}', frames, labels))
  return made


def _with_corrupted(
  cache: FrameCache, made: Sequence[_MadeVideo], recipe: Recipe
) -> list[_MadeVideo]:
  """Return each video and, after it, a corrupted copy.

  A copy has random numbers of its own, so the other videos are the same with and without it.
  """
  mean = _mean_image(cache)
  videos = []
  for index, video in enumerate(made):
    corruption = recipe.corruption
    if corruption == ALL_IN_TURN:
      corruption = list(CORRUPTIONS)[(index + recipe.seed) % len(CORRUPTIONS)]
    rng = np.random.default_rng((recipe.seed, index))
    frames = corrupted(video.frames, mean, corruption, rng)
    videos += [video, _MadeVideo(f'{video.name}-{corruption}', frames, video.labels)]
  return videos


def _mean_image(cache: FrameCache) -> np.ndarray:
  """Return the mean image of the training videos, in grey levels."""
  return 255 * mean_of_videos(cache.train.frames, cache.train.videos)


def _frames_of(cache: FrameCache, video: CachedVideo) -> np.ndarray:
  return np.asarray(cache.train.frames[video.first : video.first + video.num_frames])


def _new_index(
  cache: FrameCache,
  kept: Sequence[CachedVideo],
  held: Sequence[CachedVideo],
  made: Sequence[_MadeVideo],
  recipe: Recipe,
) -> dict[str, Any]:
  """Return the index of the new cache."""
  kept_names = [video.name for video in kept]
  held_names = ', '.join(video.name for video in held)
  train = cache.index['splits']['train']
  test_videos = []
  for video in made:
    entry = {
      'name': video.name,
      'num_frames': len(video.frames),
      'scene': '',
      'source_size': list(video.frames.shape[1:]),
      'masks': False,
      'other_labels': {},
    }
    test_videos.append(entry)

  changes = {
    'label_set': 'pseudo',
    'layout': (
      f'{cache.index["layout"]}; pseudo-anomalies in training videos {held_names}: '
      f'{_description(recipe)}'
    ),
    'files': ['train.npy', 'test.npy', 'labels.npy'],
    'notes': [],
    'splits': {
      'train': train
      | {'videos': [entry for entry in train['videos'] if entry['name'] in kept_names]},
      'test': {'videos': test_videos, 'labels': True, 'masks': False, 'tracks': None},
    },
  }
  return dict(cache.index) | changes


def _description(recipe: Recipe) -> str:
  _, default_types, _ = _types_of(recipe.family)
  types = ' '.join(recipe.types or default_types)
  parts = [f'{recipe.family} ({types})', f'{recipe.copies} copies each']
  if recipe.mixed:
    parts.append('mixed')
  if recipe.corruption:
    parts.append(f'corruption: {recipe.corruption}')
  parts.append(f'seed {recipe.seed}')
  return '; '.join(parts)


def _mixed(make: _Maker) -> _Maker:
  """Return a function that makes a video anew until it has frames of both kinds."""
  low, high = MIXED_SHARE

  def make_mixed(
    frames: np.ndarray, mean: np.ndarray, kind: str, rng: np.random.Generator
  ) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(MIXED_TRIES):
      made, labels = make(frames, mean, kind, rng)
      if low < labels.mean() < high:
        return made, labels
    raise UserError(
      f'{MIXED_TRIES} draws gave no {kind} that is abnormal in {low:.0%} to {high:.0%} of the '
      'frames'
    )

  return make_mixed


def _make_coarse(
  frames: np.ndarray, mean: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Make a copy of a video in which something crosses the scene half way through.

  Args:
    frames: uint8 [N, H, W].
    mean: the mean image, float [H, W], in grey levels.
    kind: a name in `COARSE_TYPES`.
    rng: random numbers.

  Returns:
    (frames, labels).
  """
  if kind == 'rush':
    return _make_rush(frames)
  coarse_type = COARSE_TYPES[kind]
  scale = rng.uniform(*coarse_type.scale)
  sprite, opacity, feet = _cut_sprite(frames, mean, rng, scale)

  _, height, width = frames.shape
  speed = rng.uniform(*coarse_type.speed) * height / REFERENCE_PX
  speed *= rng.choice((-1, 1))
  start = int(rng.uniform(0.2, 0.4) * len(frames))
  edge = -sprite.shape[1] if speed > 0 else float(width)
  top = feet - len(sprite)

  copy = frames.copy()
  labels = np.zeros(len(frames), np.uint8)
  for index in range(start, len(frames)):
    left = int(round(edge + speed * (index - start)))
    labels[index] = paste(copy[index], sprite, opacity, top, left)
    if labels[index - 1] > labels[index]:  # it has left the scene
      break
  return copy, labels


def _make_rush(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Play the middle of a video faster; the result is shorter."""
  quarter = len(frames) // 4
  end = quarter + SPEED_UP * quarter
  fast = frames[quarter:end:SPEED_UP]
  rest = frames[quarter + SPEED_UP * len(fast) :]

  made = np.concatenate([frames[:quarter], fast, rest])
  labels = np.zeros(len(made), np.uint8)
  labels[quarter : quarter + len(fast)] = 1
  return made, labels


def _cut_sprite(
  frames: np.ndarray, mean: np.ndarray, rng: np.random.Generator, scale: float
) -> tuple[np.ndarray, np.ndarray, int]:
  """Cut a moving person out of a random frame and resize it.

  Returns:
    (pixels, opacity, row below its feet).
  """
  for _ in range(SPRITE_TRIES):
    frame = frames[rng.integers(len(frames))].astype(np.float32)
    blobs = moving_blobs(frame, mean)
    if blobs:
      box, mask = blobs[rng.integers(len(blobs))]
      pixels = ndimage.zoom(frame[box], scale, order=1)
      opacity = ndimage.zoom(opacity_of(mask), scale, order=1)
      return pixels, opacity, box[0].stop
  raise UserError('no moving person to cut out was found in the held-out videos')
