"""Measure how fast videos are decoded, and what share of it ingest reaches.

The videos are made here: noise that moves over a still picture, so that both codecs have work.
"""

import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.data.parts import ingest_video
from a3dcae_jax.data.video import Video, resize
from a3dcae_jax.data.video_file import read_video, upright

CODECS = {'h264': 'libx264', 'mpeg4': 'mpeg4'}
SIZES = ((640, 360), (1280, 720))
RESIZED_SHAPE = (224, 224)
"""Height and width that frames are resized to."""

_FRAMES = 200  # of each made video


class Footage(NamedTuple):
  """A made video, and its copies under other names.

  Attributes:
    codec: a name in `CODECS`.
    width: of its frames in pixels.
    height: of its frames in pixels.
    frames: number of frames of each copy.
    files: the copies.
  """

  codec: str
  width: int
  height: int
  frames: int
  files: Sequence[pathlib.Path]


Read = Callable[[pathlib.Path], Any]


def measure_decoding(readers: Mapping[str, Read], *, reps: int) -> Iterator[dict[str, Any]]:
  """Measure all codecs and sizes.

  Args:
    readers: further ways of reading a file by name, each measured with one file and with one for
      each core.
    reps: repetitions, of which the fastest counts.

  Yields:
    A row for each codec, size and way of reading: frames_per_s, and its share of the decoder alone
    with all cores.
  """
  with tempfile.TemporaryDirectory(prefix='decoding-') as folder:
    for codec in CODECS:
      for size in SIZES:
        footage = make_footage(pathlib.Path(folder), codec, size, _FRAMES)
        yield from measure_footage(footage, readers, reps)


def make_footage(folder: pathlib.Path, codec: str, size: tuple[int, int], frames: int) -> Footage:
  """Write a video and a copy of it for each core."""
  import av

  width, height = size
  rng = np.random.default_rng(0)
  still = rng.integers(60, 180, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
  moving = rng.integers(0, 256, (height // 4, width // 8, 3), np.uint8)
  first = folder / f'{codec}-{width}x{height}-0.mp4'
  with av.open(str(first), 'w') as container:
    stream = container.add_stream(CODECS[codec], rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    for index in range(frames):
      picture = still.copy()
      left = 4 * index % (width - moving.shape[1])
      picture[height // 3 : height // 3 + moving.shape[0], left : left + moving.shape[1]] = moving
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
    container.mux(stream.encode())
  files = [first]
  for copy in range(1, os.cpu_count()):
    files.append(folder / f'{codec}-{width}x{height}-{copy}.mp4')
    files[-1].write_bytes(first.read_bytes())
  return Footage(codec, width, height, frames, files)


def measure_footage(
  footage: Footage, readers: Mapping[str, Read], reps: int
) -> list[dict[str, Any]]:
  """Measure one codec and size in all ways of reading.

  Args:
    footage: the video and its copies.
    readers: as in `measure_decoding`.
    reps: as in `measure_decoding`.

  Returns:
    A row for each way.
  """
  rows = []
  for name, (read, files) in _ways(footage.files, readers).items():
    seconds = min(_seconds(read, files) for _ in range(reps))
    rows.append(
      {
        'mode': 'decode',
        'codec': footage.codec,
        'width': footage.width,
        'height': footage.height,
        'reading': name,
        'frames_per_s': footage.frames * len(files) / seconds,
      }
    )
  best = max(row['frames_per_s'] for row in rows if row['reading'].startswith('decoded'))
  for row in rows:
    row['share_of_decoder'] = row['frames_per_s'] / best
  return rows


def _ways(
  files: Sequence[pathlib.Path], readers: Mapping[str, Read]
) -> dict[str, tuple[Read, Sequence[pathlib.Path]]]:
  """Return the ways of reading: name -> function, and the files that it reads."""
  cores = os.cpu_count()
  first = files[:1]
  ways = {
    'decoded, 1 thread': (lambda path: _decode(path, 1), first),
    f'decoded, {cores} threads': (lambda path: _decode(path, cores), first),
    f'decoded, {cores} videos of 1 thread': (lambda path: _decode(path, 1), files),
    'made grey, 1 thread': (lambda path: _decode(path, 1, upright), first),
    'made grey and resized, 1 thread': (lambda path: _decode(path, 1, _small), first),
  }
  for name, read in {'prepare': _ingest, **readers}.items():
    ways[f'{name}, 1 video'] = (read, first)
    ways[f'{name}, {cores} videos'] = (read, files)
  return ways


def describe(row: Mapping[str, Any]) -> str:
  """Return a measured row as one line for the terminal."""
  return (
    f'decode: {row["codec"]:5s} {row["width"]}x{row["height"]} {row["reading"]:30s} '
    f'{row["frames_per_s"]:8,.0f} frames/s, {100 * row["share_of_decoder"]:3.0f} % of the decoder'
  )


def _seconds(read: Read, files: Sequence[pathlib.Path]) -> float:
  """Return how long it takes to read files side by side."""
  start = time.perf_counter()
  with futures.ThreadPoolExecutor(len(files)) as pool:
    list(pool.map(read, files))
  return time.perf_counter() - start


def _decode(path: pathlib.Path, threads: int, use: Callable[[Any], Any] = lambda _: None) -> None:
  """Decode a file by PyAV alone, without the checks of `decode_video`."""
  import av

  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.thread_type = 'AUTO'
    stream.thread_count = threads
    for frame in container.decode(stream):
      use(frame)


def _small(frame: Any) -> np.ndarray:
  return resize(upright(frame), *RESIZED_SHAPE)


def _ingest(path: pathlib.Path) -> None:
  video = Video(path.stem, lambda: read_video(path), source=str(path))
  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    ingest_video(video, pathlib.Path(folder) / 'part', shape=RESIZED_SHAPE, with_masks=False)
