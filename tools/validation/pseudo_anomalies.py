"""Validation without test labels: held-out training videos with abnormal motion made in them.

The last training videos of a cache leave training and become its test videos, a copy of each for every kind:

    fast    a person cut from the footage crosses the scene at several times a walker's speed
    large   the same, enlarged, at about twice a walker's speed
    rush    the middle of the video is played three times as fast

Those are fast: the frame difference alone finds them. `movers='riders'` makes those of `data.riders` instead, which are hardly faster than
walkers. Whatever is to be chosen (learning rate, lambda, hidden frames, error) can be chosen by their labels; the real test set stays unseen.
"""

import pathlib

import numpy as np
from scipy import ndimage

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir
from a3dcae_jax.data.arrays import ArrayWriter
from a3dcae_jax.data.frame_cache import write_index
from a3dcae_jax.data.mean_image import mean_of_videos
from tools.validation import movers as mover_types
from tools.validation.corruptions import DISTURBANCES, disturbed
from tools.validation.sprites import moving_blobs, opacity_of, paste

KINDS = {
  'fast': ((2.0, 4.5), (0.9, 1.2)),
  'large': ((1.2, 2.5), (1.5, 2.2)),
  'rush': None,
}  # px a frame of a 112 px frame, scale
MOVERS = ('fast', 'riders')
SPEED_UP = 3
ABNORMAL_SHARE = (0.15, 0.85)  # of the frames of a made video that must have both kinds
TRIES = 50  # draws for one such video
REFERENCE_PX = 112  # the frame height that the speeds are given for


def write_pseudo_cache(
  cache, folder, *, holdout, seed=0, movers='fast', disturb='', kinds=(), copies=1, mixed=False
):
  """Writes a frame cache to `folder`, whole or not at all: `cache`'s training videos but the held-out ones, and these made abnormal.

  Args:
    cache: `FrameCache`. holdout: how many videos, the last ones, or a list of their names. seed: of sprites, speeds and paths.
    movers: 'fast' (this file's kinds) or 'riders' (those of `data.riders`).
    kinds: names of those that are made, in this order; () for the usual. copies: made videos of each kind of each held-out video, at draws of their own.
    mixed: 15 to 85 % of the frames of every made video are abnormal; other draws are dropped. So Eq. 14 can be asked of each of them.
    disturb: each made video is there a second time, under the disturbance of this name (`data.disturbances`), or under each in 'turn'; '' for none.

  Raises: UserError if `holdout` leaves nothing to train on or names no training video, for unknown movers, kinds or disturbances, fewer than one copy,
    or if no draw is mixed.
  """
  if movers not in MOVERS:
    raise UserError(f'movers {movers!r}: known are {", ".join(MOVERS)}')
  if disturb not in ('', 'turn', *DISTURBANCES):
    raise UserError(f'disturb {disturb!r}: known are turn, {", ".join(DISTURBANCES)}')
  kept, held = _held_out(cache.train.videos, holdout)
  rng, mean = (
    np.random.default_rng(seed),
    255 * mean_of_videos(cache.train.frames, cache.train.videos),
  )
  known, usual, make = (
    (KINDS, KINDS, _make)
    if movers == 'fast'
    else (mover_types.KINDS, mover_types.USUAL, mover_types.make_rider)
  )
  if unknown := set(kinds) - set(known):
    raise UserError(
      f'kinds: {movers!r} has no {", ".join(sorted(unknown))}; it has {", ".join(known)}'
    )
  if copies < 1:
    raise UserError(f'copies (={copies}) must be at least 1')
  make = _mixed(make) if mixed else make
  what = [
    f'{movers} ({" ".join(kinds or usual)})',
    f'{copies} copies each',
    'mixed' * mixed,
    disturb and f'disturbed: {disturb}',
    f'seed {seed}',
  ]
  made = [
    (
      f'{video.name}-{kind}{f"-{copy + 1}" * (copies > 1)}',
      *make(_frames(cache, video), mean, kind, rng),
    )
    for video in held
    for kind in kinds or usual
    for copy in range(copies)
  ]
  if disturb:
    made = [
      each
      for index, video in enumerate(made)
      for each in (video, _disturbed(video, mean, disturb, index, seed))
    ]
  with atomic_dir(folder) as temporary:
    shape = cache.train.frames.shape[1:]
    with ArrayWriter(temporary / 'train.npy', shape) as writer:
      for video in kept:
        writer.extend(_frames(cache, video))
    with ArrayWriter(temporary / 'test.npy', shape) as writer:
      for _, frames, _ in made:
        writer.extend(frames)
    np.save(temporary / 'labels.npy', np.concatenate([labels for _, _, labels in made]))
    stay = {video.name for video in kept}
    train = [video for video in cache.index['splits']['train']['videos'] if video['name'] in stay]
    test = [
      {
        'name': name,
        'num_frames': len(frames),
        'scene': '',
        'source_size': list(shape),
        'masks': False,
        'other_labels': {},
      }
      for name, frames, _ in made
    ]
    names = ', '.join(video.name for video in held)
    index = cache.index | {
      'label_set': 'pseudo',
      'layout': f'{cache.index["layout"]}; training videos {names} made abnormal: {"; ".join(filter(None, what))}',
      'files': ['train.npy', 'test.npy', 'labels.npy'],
      'notes': [],
      'splits': {
        'train': cache.index['splits']['train'] | {'videos': train},
        'test': {'videos': test, 'labels': True, 'masks': False, 'tracks': None},
      },
    }
    write_index(temporary, index)
  return pathlib.Path(folder)


def _mixed(make):
  """`make`, drawn until a share of `ABNORMAL_SHARE` of the frames is abnormal."""

  def drawn(frames, mean, kind, rng):
    for _ in range(TRIES):
      made, labels = make(frames, mean, kind, rng)
      if ABNORMAL_SHARE[0] < labels.mean() < ABNORMAL_SHARE[1]:
        return made, labels
    raise UserError(
      f'{TRIES} draws gave no {kind} that is abnormal in {ABNORMAL_SHARE[0]:.0%} to {ABNORMAL_SHARE[1]:.0%} of the frames'
    )

  return drawn


def _held_out(videos, holdout):
  """(videos that train, videos that are held out)."""
  held = (
    [video.name for video in videos[-holdout:]]
    if isinstance(holdout, int) and 0 < holdout < len(videos)
    else holdout
  )
  if isinstance(held, int) or not 0 < len(held) < len(videos):
    raise UserError(f'holdout (={holdout}) must leave some of the {len(videos)} training videos')
  if unknown := set(held) - {video.name for video in videos}:
    raise UserError(
      f'holdout: there is no training video {", ".join(sorted(unknown))}; there are {", ".join(video.name for video in videos)}'
    )
  return [video for video in videos if video.name not in held], [
    video for video in videos if video.name in held
  ]


def _disturbed(made, mean, how, index, seed):
  """(name, frames, labels) of a made video, disturbed; its draws are its own, so that the plain videos are the same with and without."""
  (name, frames, labels), how = (
    made,
    list(DISTURBANCES)[(index + seed) % len(DISTURBANCES)] if how == 'turn' else how,
  )
  return f'{name}-{how}', disturbed(frames, mean, how, np.random.default_rng((seed, index))), labels


def _frames(cache, video):
  return np.asarray(cache.train.frames[video.first : video.first + video.num_frames])


def _make(frames, mean, kind, rng):
  """(frames, labels) of one abnormal copy: its middle third or so is abnormal."""
  if kind == 'rush':
    return _rush(frames)
  (slow, fast), (small, large) = KINDS[kind]
  sprite, opacity, feet = _sprite(frames, mean, rng, rng.uniform(small, large))
  labels, frames = np.zeros(len(frames), np.uint8), frames.copy()
  height, width = frames.shape[1:]
  speed = rng.uniform(slow, fast) * height / REFERENCE_PX * rng.choice((-1, 1))
  start = int(rng.uniform(0.2, 0.4) * len(frames))
  left = -sprite.shape[1] if speed > 0 else float(width)
  for index in range(start, len(frames)):
    x, y = int(round(left + speed * (index - start))), feet - len(sprite)
    if not paste(frames[index], sprite, opacity, y, x):
      if labels.any():
        break
      continue
    labels[index] = 1
  return frames, labels


def _rush(frames):
  start = len(frames) // 4
  fast = frames[start : start + SPEED_UP * (len(frames) // 4) : SPEED_UP]
  made = np.concatenate([frames[:start], fast, frames[start + SPEED_UP * len(fast) :]])
  labels = np.zeros(len(made), np.uint8)
  labels[start : start + len(fast)] = 1
  return made, labels


def _sprite(frames, mean, rng, scale):
  """(pixels, opacity, row under its feet) of a mover of a random frame: an upright blob that differs from the mean image."""
  for _ in range(200):
    frame = frames[rng.integers(len(frames))].astype(np.float32)
    if blobs := moving_blobs(frame, mean):
      box, mask = blobs[rng.integers(len(blobs))]
      return (
        *(ndimage.zoom(array, scale, order=1) for array in (frame[box], opacity_of(mask))),
        box[0].stop,
      )
  raise UserError('no moving thing was found in the held-out videos to cut out')
