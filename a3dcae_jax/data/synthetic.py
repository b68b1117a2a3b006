"""Synthetic videos with known abnormal events: figures that walk along lanes.

Normal are figures of one size that walk along their lane at a walking pace, few or many of them.
Abnormal are, in test videos only: a figure that runs, one twice the size, one that crosses the
lanes, and a group that stops and stands. Beside the lanes an escalator runs, now fast, now slow,
and clouds pass over the whole scene. Both are in every training video and so can be learnt. Both
change far more of the image than an event does, so neither the frame difference nor the distance
to the mean image separates events from normal frames.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from a3dcae_jax.data.video import Region, Video

EVENT_TYPES = ('fast', 'large', 'across', 'still')


@dataclasses.dataclass(frozen=True)
class SceneSpec:
  """The scene.

  Lengths are in pixels, speeds in pixels per frame, brightness in grey levels. Pairs are ranges,
  (least, most), unless stated otherwise.

  Attributes:
    height: of the frames.
    width: of the frames.
    lanes: horizontal lanes. Figures keep to them, and walk left in odd ones.
    crowd: figures in view. Their number drifts within this range in each video.
    speed: of a walking figure.
    figure: (width, height) of a figure.
    contrast: brightness of the background minus that of a figure.
    texture: standard deviation of the background.
    camera_noise: standard deviation of the noise, drawn anew for each frame.
    clouds: amplitude of the change in brightness.
    escalator_rows: height of the escalator, which is at the upper edge.
    escalator_contrast: amplitude of its steps.
    escalator_period: distance between its steps.
    escalator_speed: of its steps.
    events: number of events in a test video.
    event_frames: length of an event in frames.
    fast: (speed, size) of a cyclist, relative to a walker.
    large: (speed, size) of a cart, relative to a walker.
    group: figures that stop and stand together.
  """

  height: int = 64
  width: int = 64
  lanes: int = 5
  crowd: tuple[float, float] = (2.0, 4.0)
  speed: tuple[float, float] = (0.5, 0.9)
  figure: tuple[float, float] = (4.5, 10.0)
  contrast: tuple[float, float] = (50.0, 70.0)
  texture: float = 12.0
  camera_noise: float = 1.5
  clouds: float = 15.0
  escalator_rows: int = 14
  escalator_contrast: float = 22.0
  escalator_period: float = 8.0
  escalator_speed: tuple[float, float] = (0.2, 1.6)
  events: tuple[int, int] = (2, 3)
  event_frames: tuple[float, float] = (25, 45)
  fast: tuple[float, float] = (3.0, 1.5)
  large: tuple[float, float] = (1.5, 2.2)
  group: int = 3


class Figure(NamedTuple):
  """A figure that moves along a straight line.

  Attributes:
    start: first frame.
    end: frame after the last one.
    x: column of its centre at `start`.
    y: row of its centre at `start`.
    speed_x: in pixels per frame.
    speed_y: in pixels per frame.
    width: in pixels.
    height: in pixels.
    contrast: brightness of the background minus that of the figure.
    phase: of its legs.
    track: number of the event; -1 for a normal figure.
    stop: frame from which it stands still.
    go: frame from which it walks on.
  """

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
  track: int = -1
  stop: float = np.inf
  go: float = np.inf

  def position(self, frame: int) -> tuple[float, float, float]:
    """Return (x, y, number of frames walked) at a frame."""
    walked = min(frame, self.stop) - self.start + max(frame - self.go, 0.0)
    x = self.x + self.speed_x * walked
    y = self.y + self.speed_y * walked
    return x, y, walked

  def is_abnormal(self, frame: int) -> bool:
    """Return whether the figure is abnormal at a frame."""
    if self.track < 0:
      return False
    return not np.isfinite(self.stop) or self.stop <= frame < self.go


def synthetic_videos(
  split: str,
  *,
  num_videos: int,
  frames_per_video: int,
  seed: int = 0,
  spec: SceneSpec | None = None,
) -> list[Video]:
  """Draw the videos of a split. The same arguments give the same videos.

  Args:
    split: 'train' (normal, without labels) or 'test' (with labels, masks and tracks).
    num_videos: number of videos.
    frames_per_video: length of each video.
    seed: of everything that is drawn.
    spec: the scene.

  Returns:
    The videos. Their label set is 'official'.
  """
  spec = spec or SceneSpec()
  videos = []
  for index in range(num_videos):
    rng = np.random.default_rng([seed, ('train', 'test').index(split), index])
    figures = _walkers(rng, spec, frames_per_video)
    if split == 'test':
      figures += _events(rng, spec, frames_per_video, index)
    drawing = _Drawing(spec, seed, int(rng.integers(2**31)), figures, frames_per_video)
    truth = {}
    if split == 'test':
      truth['labels'] = {'official': drawing.labels()}
      truth['masks'] = drawing.masks
      truth['tracks'] = drawing.tracks()
    video = Video(
      name=f'{index + 1:02d}',
      frames=drawing.frames,
      scene='synthetic',
      source=f'synthetic {split} video {index + 1}',
      **truth,
    )
    videos.append(video)
  return videos


@functools.lru_cache(maxsize=4)
def background(spec: SceneSpec, seed: int) -> np.ndarray:
  """Draw the fixed camera's view: smooth texture at two scales, float32 [H, W]."""
  rng = np.random.default_rng([seed, 7])
  texture = 0.0
  for sigma in (1.0, 6.0):
    noise = rng.standard_normal((spec.height, spec.width))
    layer = ndimage.gaussian_filter(noise, sigma, mode='wrap')
    texture = texture + layer / layer.std()
  texture = texture / np.sqrt(2)
  return (150 + spec.texture * texture).astype(np.float32)


def event_type(spec: SceneSpec, video_index: int, track: int) -> str:
  """Return which of `EVENT_TYPES` an event of a test video is. They take turns."""
  return EVENT_TYPES[(video_index * spec.events[1] + track) % len(EVENT_TYPES)]


def _lane_y(spec: SceneSpec, lane: int) -> float:
  """Return the row at the centre of a lane."""
  lanes_height = spec.height - spec.escalator_rows
  return spec.escalator_rows + lanes_height * (lane + 0.75) / (spec.lanes + 0.5)


def _wave(
  rng: np.random.Generator,
  frames: int,
  amplitude: tuple[float, float],
  period: tuple[float, float],
) -> np.ndarray:
  """Draw a slow wave over the frames of a video, with a random phase and period.

  Args:
    rng: random numbers.
    frames: length of the video.
    amplitude: least and greatest value.
    period: least and greatest period, in frames.
  """
  periods = np.arange(frames) / rng.uniform(*period)
  angle = 2 * np.pi * (periods + rng.uniform())
  return np.interp(np.sin(angle), (-1, 1), amplitude)


def _light(rng: np.random.Generator, spec: SceneSpec, frames: int) -> np.ndarray:
  """Draw the brightness that clouds add to each frame, [frames]."""
  light = _wave(rng, frames, (-spec.clouds, spec.clouds), (60, 150))
  return light.astype(np.float32)


def _escalator(rng: np.random.Generator, spec: SceneSpec, frames: int) -> np.ndarray:
  """Draw the escalator, [frames, 1, W]: stripes that move at varying speed."""
  speed = _wave(rng, frames, spec.escalator_speed, (40, 100))
  travelled = np.cumsum(speed)[:, None]
  columns = np.arange(spec.width)
  angle = 2 * np.pi * (columns - travelled) / spec.escalator_period
  stripes = spec.escalator_contrast * np.sin(angle)
  return stripes.astype(np.float32)[:, None]


def _walkers(rng: np.random.Generator, spec: SceneSpec, frames: int) -> list[Figure]:
  """Draw the normal figures. They arrive at random; their number follows a wave."""
  path = spec.width + 2 * spec.figure[0]
  crossing = path / np.mean(spec.speed)  # frames in view
  phase = rng.uniform(0, 2 * np.pi)
  period = rng.uniform(80, 240)

  figures = []
  for start in np.arange(-crossing, frames):
    angle = 2 * np.pi * start / period + phase
    crowd = np.interp(np.sin(angle), (-1, 1), spec.crowd)
    for _ in range(rng.poisson(crowd / crossing)):
      figures.append(_walker(rng, spec, start))
  return figures


def _walker(
  rng: np.random.Generator,
  spec: SceneSpec,
  start: float,
  *,
  scale: tuple[float, float] = (1.0, 1.0),
  track: int = -1,
) -> Figure:
  """Draw a figure that crosses the scene along a random lane.

  Args:
    rng: random numbers.
    spec: the scene.
    start: first frame.
    scale: (speed, size) relative to a normal walker.
    track: number of the event; -1 for a normal figure.
  """
  speed_scale, size_scale = scale
  lane = int(rng.integers(spec.lanes))
  direction = 1 if lane % 2 == 0 else -1
  speed = rng.uniform(*spec.speed) * speed_scale
  width = spec.figure[0] * size_scale * rng.uniform(0.9, 1.1)
  height = spec.figure[1] * size_scale * rng.uniform(0.9, 1.1)
  return Figure(
    start=start,
    end=start + (spec.width + 2 * width) / speed,
    x=-width if direction > 0 else spec.width + width,
    y=_lane_y(spec, lane) + rng.uniform(-1, 1),
    speed_x=direction * speed,
    speed_y=0.0,
    width=width,
    height=height,
    contrast=rng.uniform(*spec.contrast),
    phase=rng.uniform(0, 2 * np.pi),
    track=track,
  )


def _events(
  rng: np.random.Generator, spec: SceneSpec, frames: int, video_index: int
) -> list[Figure]:
  """Draw the abnormal figures of a video, spread over its length."""
  fewest, most = spec.events
  count = int(rng.integers(fewest, most + 1))
  offsets = rng.uniform(0.15, 0.5, count)
  starts = (np.arange(count) + offsets) * frames / count
  figures = []
  for track, start in enumerate(starts):
    figures += _event(rng, spec, event_type(spec, video_index, track), start, track)
  return figures


def _event(
  rng: np.random.Generator, spec: SceneSpec, kind: str, start: float, track: int
) -> list[Figure]:
  """Draw the figures of one event: one, or a group that stands."""
  if kind == 'fast':
    return [_walker(rng, spec, start, scale=spec.fast, track=track)]
  if kind == 'large':
    return [_walker(rng, spec, start, scale=spec.large, track=track)]

  length = float(rng.uniform(*spec.event_frames))
  x = spec.width * rng.uniform(0.25, 0.75)
  if kind == 'across':
    walker = _walker(rng, spec, start, track=track)
    speed = (spec.height + 2 * walker.height) / length
    across = walker._replace(x=x, y=-walker.height, speed_x=0.0, speed_y=speed, end=start + length)
    return [across]

  group = []
  for member in range(spec.group):
    walker = _walker(rng, spec, start, track=track)
    member_x = x + member * spec.figure[0]
    group.append(_with_stop(walker, start, length, member_x))
  return group


def _with_stop(walker: Figure, start: float, length: float, x: float) -> Figure:
  """Return a walker that stands at `x` from frame `start` for `length` frames.

  It walks in before that and walks on afterwards.
  """
  walk = abs(x - walker.x) / abs(walker.speed_x)  # frames until it stands
  walk_start = start - walk
  crossing = walker.end - walker.start
  return walker._replace(
    start=walk_start,
    stop=start,
    go=start + length,
    end=walk_start + crossing + length,
  )


class _Drawing:
  """Draws the frames and the ground truth of one video, frame by frame.

  Args:
    spec: the scene.
    seed: of the background.
    noise_seed: of the light, the escalator and the camera noise.
    figures: everything that moves.
    num_frames: length of the video.
  """

  def __init__(
    self, spec: SceneSpec, seed: int, noise_seed: int, figures: list[Figure], num_frames: int
  ):
    self._spec = spec
    self._seed = seed
    self._noise_seed = noise_seed
    self._figures = figures
    self._num_frames = num_frames

  def frames(self) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 [H, W]."""
    spec = self._spec
    rng = np.random.default_rng(self._noise_seed)
    light = _light(rng, spec, self._num_frames)
    escalator = _escalator(rng, spec, self._num_frames)

    for frame in range(self._num_frames):
      image = background(spec, self._seed) + light[frame]
      image[: spec.escalator_rows] += escalator[frame]
      for figure in self._in_view(frame):
        rows, columns, coverage = _stencil(figure, frame, spec)
        image[rows, columns] -= figure.contrast * coverage
      image += rng.normal(0, spec.camera_noise, image.shape)
      yield np.clip(np.rint(image), 0, 255).astype(np.uint8)

  def masks(self) -> Iterator[np.ndarray]:
    """Yield the pixel masks of abnormal figures, uint8 0/1 [H, W]."""
    for frame in range(self._num_frames):
      mask = np.zeros((self._spec.height, self._spec.width), np.uint8)
      for figure in self._abnormal(frame):
        rows, columns, coverage = _stencil(figure, frame, self._spec)
        mask[rows, columns] |= coverage > 0.5
      yield mask

  def labels(self) -> np.ndarray:
    """Return the frame labels, uint8 [N]."""
    return np.asarray([mask.any() for mask in self.masks()], np.uint8)

  def tracks(self) -> tuple[Region, ...]:
    """Return the regions of abnormal figures."""
    regions = []
    for frame in range(self._num_frames):
      for figure in self._abnormal(frame):
        rows, columns, coverage = _stencil(figure, frame, self._spec)
        ys, xs = np.nonzero(coverage > 0.5)
        if not len(ys):
          continue
        region = Region(
          track=figure.track,
          frame=frame,
          x1=columns.start + xs.min(),
          y1=rows.start + ys.min(),
          x2=columns.start + xs.max() + 1,
          y2=rows.start + ys.max() + 1,
        )
        regions.append(region)
    return tuple(regions)

  def _in_view(self, frame: int) -> list[Figure]:
    return [figure for figure in self._figures if figure.start <= frame < figure.end]

  def _abnormal(self, frame: int) -> list[Figure]:
    return [figure for figure in self._in_view(frame) if figure.is_abnormal(frame)]


def _stencil(figure: Figure, frame: int, spec: SceneSpec) -> tuple[slice, slice, np.ndarray]:
  """Draw a figure: head and body, and two legs that swing with the distance walked.

  Returns:
    (rows, columns, coverage of these pixels in [0, 1]).
  """
  x, y, walked = figure.position(frame)
  rows = _clipped_range(y, figure.height / 2 + 1, spec.height)
  columns = _clipped_range(x, figure.width, spec.width)

  # Coordinates relative to the figure: its width and height are 1.
  v, u = np.mgrid[rows, columns].astype(np.float32)
  u = (u - x) / figure.width
  v = (v - y) / figure.height

  body = _ellipse(u / 0.42, (v + 0.08) / 0.3, figure.width)
  head = _ellipse(u / 0.25, (v + 0.4) / 0.12, figure.width)
  speed = np.hypot(figure.speed_x, figure.speed_y)
  swing = 0.22 * np.sin(figure.phase + 1.1 * walked * speed)
  coverage = np.maximum(body, head)
  for sign in (-1, 1):
    shift = sign * swing * (v - 0.15) / 0.35
    leg = _ellipse((u - shift) / 0.16, (v - 0.32) / 0.2, figure.width)
    coverage = np.maximum(coverage, leg)
  return rows, columns, coverage


def _clipped_range(centre: float, reach: float, size: int) -> slice:
  """Return the pixels within `reach` of a centre, clipped to an image of `size`."""
  start = max(int(centre - reach), 0)
  stop = min(int(centre + reach) + 2, size)
  return slice(min(start, size), max(stop, 0))


def _ellipse(u: np.ndarray, v: np.ndarray, width: float) -> np.ndarray:
  """Return 1 inside the unit circle of (u, v), 0 outside, with an edge of a pixel."""
  radius = np.hypot(u, v)
  return np.clip((1 - radius) * width * 0.35 + 0.5, 0, 1)
