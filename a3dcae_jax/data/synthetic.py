"""Synthetic footage with known abnormal events: people-like figures walking along lanes over a textured background.

What is normal: figures of one size walk along their lane at a walking pace, few or many of them. What is not, in test
videos: one that runs, one twice the size, one that crosses the lanes, one that stops and stands. Beside the lanes an
escalator runs, now fast, now slow, and clouds pass over everything. Both are in every training video, so they can be
learnt, and both change far more of the picture than any event does: neither the frame difference nor the distance to
the mean image tells events apart.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.data.video import Region, Video

KINDS = ('fast', 'large', 'across', 'still')


@dataclass(frozen=True)
class SceneSpec:
  """The scene: sizes in pixels, speeds in pixels a frame, brightness in grey levels."""

  height: int = 64
  width: int = 64
  lanes: int = 5  # horizontal; figures keep to them, odd lanes walk left
  crowd: tuple = (2.0, 4.0)  # figures in view, drifting between these within each video
  speed: tuple = (0.5, 0.9)
  figure: tuple = (4.5, 10.0)  # width, height of a figure
  contrast: tuple = (50.0, 70.0)  # how much darker than the background a figure is
  texture: float = 12.0  # standard deviation of the background
  camera_noise: float = 1.5  # standard deviation, new in each frame
  clouds: float = 15.0  # how far the light swings either way
  escalator_rows: int = 14  # at the upper edge
  escalator_contrast: float = 22.0
  escalator_period: float = 8.0  # distance of its steps
  escalator_speed: tuple = (0.2, 1.6)
  events: tuple = (2, 3)  # abnormal figures in a test video
  event_frames: tuple = (25, 45)  # how long one lasts
  fast: tuple = (3.0, 1.5)  # a cyclist: times the walking speed, times the size
  large: tuple = (1.5, 2.2)  # a cart
  group: int = 3  # figures that stop and stand together


class Figure(NamedTuple):
  """One figure: centre (x, y) at `start`, velocity, size, darkness, phase of its legs; it stands still from `stop` to `go`."""

  start: float
  end: float
  x: float
  y: float
  speed_x: float
  speed_y: float
  width: float
  height: float
  contrast: float
  phase: float
  track: int = -1  # of an abnormal figure
  stop: float = np.inf
  go: float = np.inf

  def position(self, frame):
    """(x, y, distance walked) at `frame`."""
    walked = min(frame, self.stop) - self.start + max(frame - self.go, 0.0)
    return self.x + self.speed_x * walked, self.y + self.speed_y * walked, walked

  def abnormal(self, frame):
    return self.track >= 0 and (not np.isfinite(self.stop) or self.stop <= frame < self.go)


def synthetic_videos(split, *, num_videos, frames_per_video, seed=0, spec=None):
  """Videos of a split, the same for the same arguments.

  Args:
    split: 'train' (normal alone, no labels) or 'test' (with labels, masks and tracks).
    num_videos, frames_per_video: how many. seed: of everything. spec: `SceneSpec`.

  Returns:
    list of `Video`, their label set named 'official'.
  """
  spec = spec or SceneSpec()
  videos = []
  for index in range(num_videos):
    rng = np.random.default_rng([seed, ('train', 'test').index(split), index])
    figures = _walkers(rng, spec, frames_per_video)
    if split == 'test':
      figures += _events(rng, spec, frames_per_video, index)
    video = _Rendered(spec, seed, int(rng.integers(2**31)), tuple(figures), frames_per_video)
    extra = (
      {'labels': {'official': video.labels()}, 'masks': video.masks, 'tracks': video.tracks()}
      if split == 'test'
      else {}
    )
    videos.append(
      Video(
        name=f'{index + 1:02d}',
        frames=video.frames,
        scene='synthetic',
        source=f'synthetic {split} video {index + 1}',
        **extra,
      )
    )
  return videos


@functools.lru_cache(maxsize=4)
def background(spec, seed):
  """The fixed camera's view: smooth texture at two scales, float32 [H, W]."""
  rng = np.random.default_rng([seed, 7])
  layers = [
    ndimage.gaussian_filter(rng.standard_normal((spec.height, spec.width)), sigma, mode='wrap')
    for sigma in (1.0, 6.0)
  ]
  texture = sum(layer / layer.std() for layer in layers) / np.sqrt(2)
  return (150 + spec.texture * texture).astype(np.float32)


def _lane_y(spec, lane):
  return spec.escalator_rows + (spec.height - spec.escalator_rows) * (lane + 0.75) / (
    spec.lanes + 0.5
  )


def _wave(rng, frames, low, high, period):
  """A slow wave between `low` and `high` with a random phase and a period up to twice as long as the shortest."""
  angle = 2 * np.pi * (np.arange(frames) / rng.uniform(*period) + rng.uniform())
  return np.interp(np.sin(angle), (-1, 1), (low, high))


def _light(rng, spec, frames):
  """Brightness added by the clouds, [frames]."""
  return _wave(rng, frames, -spec.clouds, spec.clouds, (60, 150)).astype(np.float32)


def _escalator(rng, spec, frames):
  """Brightness of the escalator's steps, [frames, 1, W]: stripes that move at a speed that changes."""
  travelled = np.cumsum(_wave(rng, frames, *spec.escalator_speed, (40, 100)))
  angle = 2 * np.pi * (np.arange(spec.width) - travelled[:, None]) / spec.escalator_period
  return (spec.escalator_contrast * np.sin(angle)).astype(np.float32)[:, None]


def _walkers(rng, spec, frames):
  """Normal figures, arriving at random; the crowd drifts between its bounds along a slow wave."""
  mean_speed, figures = np.mean(spec.speed), []
  crossing = (spec.width + 2 * spec.figure[0]) / mean_speed  # frames a figure is in view
  level, period = rng.uniform(0, 2 * np.pi), rng.uniform(80, 240)
  for start in np.arange(-crossing, frames):
    crowd = np.interp(np.sin(2 * np.pi * start / period + level), (-1, 1), spec.crowd)
    for _ in range(rng.poisson(crowd / crossing)):
      figures.append(_walker(rng, spec, start))
  return figures


def _walker(rng, spec, start, speed_factor=1.0, size_factor=1.0, track=-1):
  lane = int(rng.integers(spec.lanes))
  direction = 1 if lane % 2 == 0 else -1
  speed = rng.uniform(*spec.speed) * speed_factor
  width, height = (side * size_factor * rng.uniform(0.9, 1.1) for side in spec.figure)
  x = -width if direction > 0 else spec.width + width
  duration = (spec.width + 2 * width) / speed
  return Figure(
    start,
    start + duration,
    x,
    _lane_y(spec, lane) + rng.uniform(-1, 1),
    direction * speed,
    0.0,
    width,
    height,
    rng.uniform(*spec.contrast),
    rng.uniform(0, 2 * np.pi),
    track,
  )


def _events(rng, spec, frames, index):
  """Abnormal figures; the kinds take turns from video to video, spread over the video's length."""
  count = int(rng.integers(spec.events[0], spec.events[1] + 1))
  starts = (np.arange(count) + rng.uniform(0.15, 0.5, count)) * frames / count
  kinds = [event_kind(spec, index, turn) for turn in range(count)]
  return [
    figure
    for turn, start in enumerate(starts)
    for figure in _event(rng, spec, start, kinds[turn], turn)
  ]


def event_kind(spec, video_index, track):
  """Which of `KINDS` the event `track` of test video `video_index` is."""
  return KINDS[(video_index * spec.events[1] + track) % len(KINDS)]


def _event(rng, spec, start, kind, track):
  """The figures of one event: one, or a group that stands."""
  if kind in ('fast', 'large'):
    speed_factor, size_factor = spec.fast if kind == 'fast' else spec.large
    return [
      _walker(rng, spec, start, speed_factor=speed_factor, size_factor=size_factor, track=track)
    ]
  length, x = float(rng.uniform(*spec.event_frames)), spec.width * rng.uniform(0.25, 0.75)
  if kind == 'across':
    walker = _walker(rng, spec, start, track=track)
    speed = (spec.height + 2 * walker.height) / length
    return [walker._replace(x=x, y=-walker.height, speed_x=0.0, speed_y=speed, end=start + length)]
  return [
    _stander(_walker(rng, spec, start, track=track), start, length, x + place * spec.figure[0])
    for place in range(spec.group)
  ]


def _stander(walker, start, length, x):
  """A walker that is at `x` from `start` for `length` frames: it walks in before and walks on after."""
  walk = abs(x - walker.x) / abs(walker.speed_x)
  return walker._replace(
    start=start - walk,
    stop=start,
    go=start + length,
    end=start - walk + (walker.end - walker.start) + length,
  )


class _Rendered:
  """Draws the figures of one video, frame by frame."""

  def __init__(self, spec, seed, noise_seed, figures, num_frames):
    self._spec, self._seed, self._noise_seed, self._figures, self._num_frames = (
      spec,
      seed,
      noise_seed,
      figures,
      num_frames,
    )

  def frames(self):
    noise = np.random.default_rng(self._noise_seed)
    light, escalator = (
      _light(noise, self._spec, self._num_frames),
      _escalator(noise, self._spec, self._num_frames),
    )
    for frame in range(self._num_frames):
      image = background(self._spec, self._seed) + light[frame]
      image[: self._spec.escalator_rows] += escalator[frame]
      for figure in self._in_view(frame):
        rows, columns, alpha = _stencil(figure, frame, self._spec)
        image[rows, columns] -= figure.contrast * alpha
      image += noise.normal(0, self._spec.camera_noise, image.shape)
      yield np.clip(np.rint(image), 0, 255).astype(np.uint8)

  def masks(self):
    for frame in range(self._num_frames):
      mask = np.zeros((self._spec.height, self._spec.width), np.uint8)
      for figure in self._in_view(frame):
        if figure.abnormal(frame):
          rows, columns, alpha = _stencil(figure, frame, self._spec)
          mask[rows, columns] |= alpha > 0.5
      yield mask

  def labels(self):
    return np.asarray([mask.any() for mask in self.masks()], np.uint8)

  def tracks(self):
    regions = []
    for frame in range(self._num_frames):
      for figure in self._in_view(frame):
        if figure.abnormal(frame):
          rows, columns, alpha = _stencil(figure, frame, self._spec)
          ys, xs = np.nonzero(alpha > 0.5)
          if len(ys):
            top, left = rows.start, columns.start
            regions.append(
              Region(
                figure.track,
                frame,
                left + xs.min(),
                top + ys.min(),
                left + xs.max() + 1,
                top + ys.max() + 1,
              )
            )
    return tuple(regions)

  def _in_view(self, frame):
    return [figure for figure in self._figures if figure.start <= frame < figure.end]


def _stencil(figure, frame, spec):
  """(row slice, column slice, coverage 0..1) of a figure: head and body, and two legs that swing with the distance walked."""
  x, y, walked = figure.position(frame)
  half_w, half_h = figure.width, figure.height / 2 + 1
  top, bottom = max(int(y - half_h), 0), min(int(y + half_h) + 2, spec.height)
  left, right = max(int(x - half_w), 0), min(int(x + half_w) + 2, spec.width)
  rows, columns = (
    slice(min(top, spec.height), max(bottom, 0)),
    slice(min(left, spec.width), max(right, 0)),
  )
  v, u = np.mgrid[rows, columns].astype(np.float32)
  u, v = (u - x) / figure.width, (v - y) / figure.height
  swing = 0.22 * np.sin(figure.phase + 1.1 * walked * np.hypot(figure.speed_x, figure.speed_y))
  body = _soft(np.hypot(u / 0.42, (v + 0.08) / 0.3), figure.width)
  head = _soft(np.hypot(u / 0.25, (v + 0.4) / 0.12), figure.width)
  legs = [
    _soft(np.hypot((u - sign * swing * (v - 0.15) / 0.35) / 0.16, (v - 0.32) / 0.2), figure.width)
    for sign in (-1, 1)
  ]
  return rows, columns, np.maximum.reduce([body, head, *legs])


def _soft(radius, width):
  """1 inside radius 1, 0 outside, with an edge about a pixel wide."""
  return np.clip((1 - radius) * width * 0.35 + 0.5, 0, 1)
