"""How fast footage comes in: the tf.data pipeline on a prepared cache, and ingest of a data set."""

import pathlib
import tempfile
import time

from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.data.windows import training_clips


def measure_pipeline(folder, *, batch_size=16, window=16, seconds=20.0, warm_up_batches=8):
  """Reads shuffled training clips of a prepared cache through the tf.data pipeline, as a streamed run does, and throws them away.

  Returns: dict with clips_per_s, clips_per_cpu_s (for each second of one core, which a busy machine changes little), gb_per_s (of pixels
  delivered), frames (of the cache), clips (how many were read), seconds,
  own_gib and own_before_gib (this process's memory without mapped files at the end and before the first batch), peak_gib (all of it).
  Source of the memory figures: /proc/self/status; None elsewhere than on Linux.
  """
  from a3dcae_jax.data.pipeline import stream_batches  # TensorFlow

  cache = FrameCache.open(folder)
  frames = cache.train.frames
  table = training_clips(cache.train.videos, window=window)
  batches = stream_batches(frames, table, batch_size=batch_size, window=window, seed=0)
  before = memory_gib('RssAnon')
  for _ in range(warm_up_batches):
    next(batches)
  start, cpu, count = time.perf_counter(), time.process_time(), 0
  while time.perf_counter() - start < seconds:
    count += len(next(batches))
  elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
  return {
    'mode': 'pipeline',
    'frames': len(frames),
    'height': frames.shape[1],
    'width': frames.shape[2],
    'clips': count,
    'seconds': elapsed,
    'clips_per_s': count / elapsed,
    'clips_per_cpu_s': count / cpu,
    'gb_per_s': count * window * frames[0].size / elapsed / 1e9,
    'own_before_gib': before,
    'own_gib': memory_gib('RssAnon'),
    'peak_gib': memory_gib('VmHWM'),
  }


def measure_ingest(name, root, *, height=224, width=224, options=None):
  """Ingests a data set into a temporary cache that is removed again. Returns: dict with frames, seconds, frames_per_s, peak_gib."""
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
    seconds, frames = time.perf_counter() - start, len(cache.train.frames) + len(cache.test.frames)
  return {
    'mode': 'ingest',
    'frames': frames,
    'seconds': seconds,
    'frames_per_s': frames / seconds,
    'peak_gib': memory_gib('VmHWM'),
  }


def line(row):
  """A measured row as one line for the terminal."""
  peak = '' if row['peak_gib'] is None else f', peak {row["peak_gib"]:.2f} GiB'
  if row['mode'] == 'ingest':
    return f'ingest: {row["frames"]:,} frames in {row["seconds"]:.1f} s, {row["frames_per_s"]:,.0f} frames/s{peak}'
  own = (
    ''
    if row['own_gib'] is None
    else f', own memory {row["own_before_gib"]:.2f} GiB before, {row["own_gib"]:.2f} after'
  )
  return (
    f'pipeline: {row["clips_per_s"]:,.0f} clips/s of {row["width"]}x{row["height"]}, {row["gb_per_s"]:.2f} GB/s, '
    f'{row["clips_per_cpu_s"]:,.0f} a core-second; {row["clips"]:,} clips of '
    f'{row["frames"]:,} frames in {row["seconds"]:.1f} s{own}{peak}'
  )


def memory_gib(field):
  """A field of this process's memory in GiB: 'VmHWM' (peak), 'RssAnon' (without mapped files); None elsewhere than on Linux."""
  try:
    text = pathlib.Path('/proc/self/status').read_text(encoding='ascii')
  except OSError:
    return None
  return next(
    (int(row.split()[1]) / 2**20 for row in text.splitlines() if row.startswith(f'{field}:')), None
  )
