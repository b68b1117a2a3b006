"""How many cameras this machine carries: `detect` on simulated cameras.

A camera gives 25 frames a second, ready in memory or as video that is still to be decoded. The live
page may be looked at meanwhile. A camera is carried if no frame is dropped and scores come at most
`SLACK_S` later than its windows allow.
"""

import contextlib
import fractions
import functools
import io
import itertools
import pathlib
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving.bundle import Bundle, load_bundle
from a3dcae_jax.serving.images import grey_levels, resized
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.stream import FrameScore
from a3dcae_jax.watching.capture import (
  Captured,
  Format,
  captured_frames,
  picture_of,
  stream_frames,
)
from a3dcae_jax.watching.detector import BoxFinder, make_box_finder, mean_images
from a3dcae_jax.watching.output import claim_folder
from a3dcae_jax.watching.page.access import Address
from a3dcae_jax.watching.page.browser import Browser
from a3dcae_jax.watching.page.server import PageServer, missing_package
from a3dcae_jax.watching.recorder import clip_codec
from a3dcae_jax.watching.session import FIRST_SCORE, Options, Session, start_page
from a3dcae_jax.watching.sources import Source

FRAMES_PER_S = 25
SLACK_S = 0.5
"""Latency above the floor that is allowed. A backlog of dropped frames is longer."""

MOST_CAMERAS = 1024
_VIDEO_SIZE = 640, 360
_VIDEO_S = 8
_BIT_RATE = 800_000  # as cameras have it at this size
_MEMORY_FRAMES = 50
_SETTLE_S = 1.0  # at the start of each camera, which are not measured
_OUT_OF_REACH = 1e9  # a threshold without events

_KINDS = {
  'scoring': 'frames in memory',
  'decoding': 'with decoding of 640x360',
  'page': 'with decoding and a browser that shows the page',
}

Camera = Callable[[float], Iterator[Captured]]
"""Time at which it begins, as `time.monotonic()` -> its frames, in real time, for ever."""


class Detector(NamedTuple):
  """What is measured.

  Attributes:
    bundle: the bundle.
    finder: finds boxes; None for whole frames.
  """

  bundle: Bundle | ObjectBundle
  finder: BoxFinder | None


def measure_cameras(
  folder: str, *, detector: str = '', cameras: int = 0, seconds: float = 10.0
) -> Iterator[dict[str, Any]]:
  """Yield a row for each kind of camera, and one on the first score.

  The kinds are frames in memory, decoding, and decoding while a browser shows the page.

  Args:
    folder: of the bundle.
    detector: file of the detector of boxes; '' if the bundle needs none.
    cameras: how many to try; 0 finds the largest number that is carried.
    seconds: duration of each trial.
  """
  bundle = load_bundle(folder)
  opened = Detector(bundle, make_box_finder(bundle, detector))
  with tempfile.TemporaryDirectory(prefix='video-') as place:
    video = write_video(pathlib.Path(place) / 'camera.mp4', scene_of(bundle))
    decoded = video_camera(bundle, video)
    kinds = {'scoring': memory_camera(bundle), 'decoding': decoded, 'page': decoded}
    for kind, camera in kinds.items():
      if kind == 'page' and (missing := missing_package()):
        yield {'mode': 'stream', 'kind': kind, 'missing': missing}
        continue
      trial = functools.partial(try_cameras, opened, camera, seconds, has_page=kind == 'page')
      row = trial(cameras) if cameras else most_carried(trial)
      yield {'mode': 'stream', 'kind': kind, **row}
    arguments = [f'--detector={detector}'] if detector else []
    first_s = first_score_s(folder, video, arguments)
    window_s = row['floor_s'] + 1 / FRAMES_PER_S
    yield {'mode': 'stream', 'kind': 'start', 'first_score_s': first_s, 'window_s': window_s}


def describe(row: Mapping[str, Any]) -> str:
  """Return a measured row as one line for the terminal."""
  if row['kind'] == 'start':
    return (
      f'first score {row["first_score_s"]:.1f} s after a warm start from a file; with a camera '
      f'{row["window_s"]:.1f} s later, when its first window is complete'
    )
  if 'missing' in row:
    return (
      f'cameras {_KINDS[row["kind"]]}: not measured, since {row["missing"]} is not installed; '
      "pip install 'a3dcae_jax[serve]'"
    )
  shown = f', {row["pictures_per_s"]:.1f} pictures/s shown' if row['kind'] == 'page' else ''
  return (
    f'{row["cameras"]} cameras, {_KINDS[row["kind"]]}: '
    f'{"carried" if row["is_carried"] else "NOT carried"}, '
    f'{row["frames_per_s"]:,.0f} frames/s, latency {row["latency_median_s"]:.2f} s median, '
    f'{row["latency_99_s"]:.2f} s 99 % (floor {row["floor_s"]:.2f} s), '
    f'{row["dropped"]} dropped, {row["cpus"]:.1f} CPUs busy{shown}'
  )


def most_carried(trial: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
  """Return the row of the largest number of cameras that is carried.

  Args:
    trial: number of cameras -> row with `is_carried`.

  Returns:
    The row; that of one camera if not even that is carried.
  """
  best = trial(1)
  if not best['is_carried']:
    return best
  low, high = 1, 2
  while high <= MOST_CAMERAS and (row := trial(high))['is_carried']:
    best = row
    low, high = high, min(2 * high, MOST_CAMERAS + 1)
  while high - low > max(1, low // 16):
    middle = (low + high) // 2
    row = trial(middle)
    if row['is_carried']:
      low, best = middle, row
    else:
      high = middle
  return best


def try_cameras(
  detector: Detector, camera: Camera, seconds: float, cameras: int, *, has_page: bool = False
) -> dict[str, Any]:
  """Watch simulated cameras for some seconds.

  Args:
    detector: what is measured.
    camera: opens a camera.
    seconds: duration.
    cameras: how many of them.
    has_page: whether a browser shows the live page.

  Returns:
    cameras, is_carried, seconds, frames_per_s scored, latency_median_s, latency_99_s, floor_s (the
    longest latency on an infinitely fast machine), dropped frames, cpus, the number of processors
    that were busy, and pictures_per_s that the browser has got.
  """
  with tempfile.TemporaryDirectory(prefix='cameras-') as folder:
    options = Options(
      pathlib.Path(folder),
      threshold=_OUT_OF_REACH,
      until_s=seconds + 2 * _SETTLE_S,
      status_s=np.inf,
    )
    claim_folder(options.out)
    session = _Trial(detector, options, camera)
    sources = [Source(f'camera{i}', 'address', f'camera{i}', f'camera {i}') for i in range(cameras)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as page:
      browser = page.enter_context(_shown(session, sources, options)) if has_page else None
      session.run(sources)
      row = session.row(cameras)
      row['pictures_per_s'] = browser.pictures_per_s if browser else 0.0
      session.close()
  return row


@contextlib.contextmanager
def _shown(session: '_Trial', sources: Sequence[Source], options: Options) -> Iterator[Browser]:
  """Serve the live page of a session, and look at it, until the block ends."""
  page = PageServer(Address('127.0.0.1', 0), '')
  session.feed = start_page(page, session.bundle, sources, options.out)
  browser = Browser(page.address.port)
  try:
    yield browser
  finally:
    browser.close()
    page.close()


class _Trial(Session):
  """A session whose sources are simulated cameras, and which times all scores."""

  def __init__(self, detector: Detector, options: Options, camera: Camera) -> None:
    super().__init__(detector.bundle, options, detector.finder, {}, ())
    self.bundle = detector.bundle
    self._camera = camera
    self._rng = np.random.default_rng(0)
    self._begun_s: dict[str, float] = {}
    self._latencies: list[float] = []
    self._start_s = self._start_cpu_s = 0.0

  def frames(self, source: Source) -> Iterator[Captured]:
    """Open a camera; all begin within a second, since cameras do not keep step."""
    begin_s = time.monotonic() + self._rng.random()
    self._begun_s[source.name] = begin_s
    return self._camera(begin_s)

  def put(self, scored: FrameScore) -> None:
    """Give a score to its source, and keep its latency from when its frame was due."""
    super().put(scored)
    watch = self.watches[scored.stream]
    now_s = time.monotonic()
    if watch.latest_s < _SETTLE_S:
      return
    if not self._latencies:
      self._start_s, self._start_cpu_s = now_s, time.process_time()
    self._latencies.append(now_s - self._begun_s[watch.source.name] - watch.latest_s)

  def _look_after(self) -> None:
    super()._look_after()
    if self._dropped():  # there is nothing left to find out
      self.stop()

  def _dropped(self) -> int:
    return sum(watch.reader.dropped for watch in self.watches.values())

  def row(self, cameras: int) -> dict[str, Any]:
    """Return the figures, before the session is closed."""
    passed_s = max(time.monotonic() - self._start_s, 1e-9)
    floor_s = self._scorer.latency_frames / FRAMES_PER_S
    median_s = high_s = np.inf
    if self._latencies:
      median_s, high_s = np.quantile(self._latencies, [0.5, 0.99]).tolist()
    return {
      'cameras': cameras,
      'is_carried': not self._dropped() and high_s <= floor_s + SLACK_S,
      'seconds': passed_s,
      'frames_per_s': len(self._latencies) / passed_s,
      'latency_median_s': median_s,
      'latency_99_s': high_s,
      'floor_s': floor_s,
      'dropped': self._dropped(),
      'cpus': (time.process_time() - self._start_cpu_s) / passed_s,
    }


def memory_camera(bundle: Bundle | ObjectBundle) -> Camera:
  """Return a camera whose frames are in memory, at the size of a bundle's frames."""
  scene = resized(scene_of(bundle), bundle.height, bundle.width)
  kept = []
  for index, frame in enumerate(_moving(scene, _MEMORY_FRAMES)):
    picture = None if index % 2 else picture_of(None, frame)
    kept.append(Captured(frame, 0.0, picture, frame.shape[::-1], zlib.crc32(frame)))

  def open_camera(begin_s: float) -> Iterator[Captured]:
    for index in itertools.count():
      _wait_for(begin_s, index)
      yield kept[index % len(kept)]._replace(time_s=index / FRAMES_PER_S)

  return open_camera


def video_camera(bundle: Bundle | ObjectBundle, video: pathlib.Path) -> Camera:
  """Return a camera that plays a video again and again, decoded as an address is."""
  wanted = Format(bundle.height, bundle.width, float(FRAMES_PER_S))
  source = Source(str(video), 'address', video.stem, video.name)

  def frames(begin_s: float) -> Iterator[Any]:
    decoded = itertools.chain.from_iterable(stream_frames(source) for _ in itertools.count())
    for index in itertools.count():
      _wait_for(begin_s, index)  # before it is decoded, as packets of a camera come
      frame = next(decoded)
      frame.pts, frame.time_base = index, fractions.Fraction(1, FRAMES_PER_S)
      yield frame

  return lambda begin_s: captured_frames(frames(begin_s), wanted)


def write_video(path: pathlib.Path, scene: np.ndarray) -> pathlib.Path:
  """Write a video as cameras send it, and return its path.

  It has a key frame every two seconds, no B-frames, and noise in every pixel.

  Args:
    path: the file.
    scene: uint8 [H, W].
  """
  import av

  width, height = _VIDEO_SIZE
  options = {'g': str(2 * FRAMES_PER_S), 'bf': '0'}
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(clip_codec(), rate=FRAMES_PER_S, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.bit_rate = _BIT_RATE
    for frame in _moving(resized(scene, height, width), _VIDEO_S * FRAMES_PER_S):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='gray')))
    container.mux(stream.encode())
  return path


def first_score_s(folder: str, video: pathlib.Path, arguments: Sequence[str] = ()) -> float:
  """Return the seconds from the start of `detect` to its first score.

  It is called twice, so that its programs are compiled already. The video is read as fast as it
  can be; with a camera, the time of a window is added.

  Args:
    folder: of the bundle.
    video: what it watches.
    arguments: further flags.

  Raises:
    UserError: if it ends without a score.
  """
  for _ in range(2):
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='first-') as out:
      command = [sys.executable, '-m', 'a3dcae_jax.detect', f'--bundle={folder}', f'--out={out}']
      process = subprocess.Popen(
        [*command, *arguments, str(video)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
      )
      lines = []
      for line in process.stdout:
        lines.append(line)
        if FIRST_SCORE in line:
          break
      passed_s = time.monotonic() - start_s
      process.kill()
      process.communicate()
    if FIRST_SCORE not in lines[-1]:
      raise UserError(f'detect has no score: {lines[-1].strip()}')
  return passed_s


def scene_of(bundle: Bundle | ObjectBundle) -> np.ndarray:
  """Return the mean image of the training videos, or plain grey, uint8 [H, W]."""
  references = mean_images(bundle)
  if references is None:
    return np.full((bundle.height, bundle.width), 128, np.uint8)
  return grey_levels(references[0])


def _moving(scene: np.ndarray, count: int) -> Iterator[np.ndarray]:
  """Yield frames of a scene with noise and a dark figure that walks through it."""
  rng = np.random.default_rng(0)
  height, width = scene.shape
  noise = [rng.integers(-3, 4, scene.shape, np.int16) for _ in range(8)]
  for index in range(count):
    frame = scene + noise[index % len(noise)]
    left = int(index / count * width)
    frame[height // 3 : height // 2, left : left + width // 16] -= 60
    yield np.clip(frame, 0, 255).astype(np.uint8)


def _wait_for(begin_s: float, index: int) -> None:
  """Sleep until a frame is due."""
  time.sleep(max(0.0, begin_s + index / FRAMES_PER_S - time.monotonic()))
