"""Measure how fast videos are read, from a frame cache and from a data set."""

import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.windows import training_clips


def measure_pipeline(
  folder: str | pathlib.Path,
  *,
  batch_size: int = 16,
  window: int = 16,
  seconds: float = 20.0,
  warm_up_batches: int = 8,
) -> dict[str, Any]:
  """Read shuffled training clips of a frame cache through tf.data, as training does.

  Args:
    folder: the frame cache.
    batch_size: clips per batch.
    window: frames per clip.
    seconds: duration of the measurement.
    warm_up_batches: batches that are read before the measurement.

  Returns:
    Rates: clips_per_s; clips_per_cpu_s, per second of CPU time, which other work on the machine
    hardly changes; gb_per_s of pixels. Amounts: frames of the cache, clips read, seconds. Memory of
    this process in GiB: own_before_gib and own_gib, without mapped files, before the first batch
    and at the end; peak_gib, with mapped files. Memory is None except on Linux.
  """
  from a3dcae_jax.data.pipeline import stream_batches  # imports TensorFlow

  frames_and_videos = FrameCache.open(folder, splits=('train',)).train
  frames = frames_and_videos.frames
  clips = training_clips(frames_and_videos.videos, window=window)
  batches = stream_batches(frames, clips, batch_size=batch_size, window=window, seed=0)
  before = memory_gib('RssAnon')
  for _ in range(warm_up_batches):
    next(batches)
  start = time.perf_counter()
  cpu_start = time.process_time()
  count = 0
  while time.perf_counter() - start < seconds:
    count += len(next(batches))
  elapsed = time.perf_counter() - start
  cpu_seconds = time.process_time() - cpu_start
  return {
    'mode': 'pipeline',
    'frames': len(frames),
    'height': frames.shape[1],
    'width': frames.shape[2],
    'clips': count,
    'seconds': elapsed,
    'clips_per_s': count / elapsed,
    'clips_per_cpu_s': count / cpu_seconds,
    'gb_per_s': count * window * frames[0].size / elapsed / 1e9,
    'own_before_gib': before,
    'own_gib': memory_gib('RssAnon'),
    'peak_gib': memory_gib('VmHWM'),
  }


def measure_ingest(
  name: str,
  root: str | pathlib.Path,
  *,
  height: int = 224,
  width: int = 224,
  options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Ingest a data set into a temporary frame cache, which is then removed.

  Args:
    name: name of the data set.
    root: folder of its videos.
    height: height of the cached frames in pixels.
    width: width of the cached frames in pixels.
    options: the data set's own options.

  Returns:
    frames, seconds, frames_per_s and peak_gib.
  """
  with tempfile.TemporaryDirectory(prefix='ingest-') as folder:
    start = time.perf_counter()
    cache = prepare_cache(
      name,
      root=str(root),
      cache_dir=pathlib.Path(folder),
      height=height,
      width=width,
      options=options,
    )
    seconds = time.perf_counter() - start
    num_frames = len(cache.train.frames) + len(cache.test.frames)
  return {
    'mode': 'ingest',
    'frames': num_frames,
    'seconds': seconds,
    'frames_per_s': num_frames / seconds,
    'peak_gib': memory_gib('VmHWM'),
  }


def describe(row: Mapping[str, Any]) -> str:
  """Return a measured row as one line for the terminal."""
  if row['mode'] == 'ingest':
    text = (
      f'ingest: {row["frames"]:,} frames in {row["seconds"]:.1f} s, '
      f'{row["frames_per_s"]:,.0f} frames/s'
    )
  else:
    text = (
      f'pipeline: {row["clips_per_s"]:,.0f} clips/s of {row["width"]}x{row["height"]}, '
      f'{row["gb_per_s"]:.2f} GB/s, {row["clips_per_cpu_s"]:,.0f} clips per core-second; '
      f'{row["clips"]:,} clips of {row["frames"]:,} frames in {row["seconds"]:.1f} s'
    )
    if row['own_gib'] is not None:
      text += f', own memory {row["own_before_gib"]:.2f} GiB before, {row["own_gib"]:.2f} GiB after'
  if row['peak_gib'] is not None:
    text += f', peak {row["peak_gib"]:.2f} GiB'
  return text


def memory_gib(field: str) -> float | None:
  """Return a field of this process's memory in GiB; None except on Linux.

  Source: /proc/self/status.

  Args:
    field: 'VmHWM' (peak) or 'RssAnon' (without mapped files).
  """
  try:
    text = pathlib.Path('/proc/self/status').read_text(encoding='ascii')
  except OSError:
    return None
  for line in text.splitlines():
    if line.startswith(f'{field}:'):
      return int(line.split()[1]) / 2**20
  return None
