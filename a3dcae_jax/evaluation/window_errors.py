"""Errors of many windows, computed in batches of one size.

Because of the single size, the scoring program is compiled only once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.frame_cache import Split, videos_of
from a3dcae_jax.data.windows import TestWindows, clip_rows
from a3dcae_jax.evaluation.scorer import Scorer
from a3dcae_jax.training import parallel, processes

MapsCallback = Callable[[int, np.ndarray], None]

_MAX_PENDING = 2  # batches that may run on the device before the host reads a result


class WindowList(NamedTuple):
  """Windows to be scored.

  Attributes:
    first: int [M], index of the first frame.
    stride: int [M], frames between two frames of a window.
    ids: int32 [M], mean image id.
  """

  first: np.ndarray
  stride: np.ndarray
  ids: np.ndarray


def window_list(windows: TestWindows, split: Split, ids: np.ndarray) -> WindowList:
  """Return the windows of a split.

  Args:
    windows: windows of the split.
    split: a split of a frame cache.
    ids: int32 [V], mean image id of each video of the split.
  """
  return WindowList(windows.first, windows.stride, ids[videos_of(split, windows.first)])


def shared_window_errors(
  scorer: Scorer,
  frames: np.ndarray,
  windows: WindowList,
  *,
  batch_size: int,
  on_maps: MapsCallback | None = None,
  progress: str = '',
) -> np.ndarray:
  """Return the errors of windows, scored in shares by the processes of a pod.

  Each process scores one share, reads only the frames of that share, and gets all errors. It calls
  `on_maps` for its own share. The arguments are those of `window_errors`.
  """
  if processes.count() == 1:
    return window_errors(
      scorer, frames, windows, batch_size=batch_size, on_maps=on_maps, progress=progress
    )
  share = processes.my_share(len(windows.first))
  mine = WindowList(*(column[share] for column in windows))
  low, high = _frame_range(mine, scorer.window)
  errors = window_errors(
    scorer,
    frames[low:high],
    mine._replace(first=mine.first - low),
    batch_size=batch_size,
    on_maps=_shifted(on_maps, share.start),
    progress=progress if processes.is_primary() else '',
  )
  return processes.gather_shares(np.asarray(errors, np.float32), len(windows.first))


def window_errors(
  scorer: Scorer,
  frames: np.ndarray,
  windows: WindowList,
  *,
  batch_size: int,
  on_maps: MapsCallback | None = None,
  progress: str = '',
) -> np.ndarray:
  """Return the errors of windows by all devices of this process, float [M, T].

  Args:
    scorer: computes the errors of a batch.
    frames: uint8 [N, H, W]; copied to the devices as a whole if they fit.
    windows: M windows of `scorer.window` frames.
    batch_size: windows per batch and device.
    on_maps: called in order as on_maps(start, maps [b, T, H, W]), for windows start to start + b.
      With None, no maps are copied to the host.
    progress: title of a progress bar; empty for none.
  """
  clips_of = _clip_source(frames, scorer.window)
  batch_size *= parallel.num_local()
  pending = []
  done = []

  def take(start, result):
    count = min(batch_size, len(windows.first) - start)
    errors, maps = jax.device_get(result)
    done.append(errors[:count])
    if on_maps:
      on_maps(start, maps[:count])

  starts = range(0, len(windows.first), batch_size)
  for start in tqdm.tqdm(
    starts, desc=progress, unit='batch', disable=not progress, dynamic_ncols=True
  ):
    batch = _batch(windows, start, batch_size)
    errors, maps = scorer.batch_errors(clips_of(batch), batch.ids)
    pending.append((start, (errors, maps if on_maps else None)))
    if len(pending) > _MAX_PENDING:
      take(*pending.pop(0))
  for start, result in pending:
    take(start, result)
  return np.concatenate(done) if done else np.zeros((0, scorer.window))


def _batch(windows, start, batch_size):
  """Return exactly `batch_size` windows; the last batch is filled by repetition."""
  stop = start + batch_size
  return WindowList(
    first=np.resize(windows.first[start:stop], batch_size).astype(np.int32),
    stride=np.resize(windows.stride[start:stop], batch_size).astype(np.int32),
    ids=np.resize(windows.ids[start:stop], batch_size),
  )


def _clip_source(frames, window):
  """Return a function WindowList -> clips, on the devices if the frames fit."""
  if not fits_on_device(frames.size):
    return lambda batch: frames[clip_rows(batch.first, batch.stride, window)]
  on_devices = parallel.replicate(np.asarray(frames))
  gather = parallel.LocalMap(functools.partial(gather_clips, window=window), num_shared=1)
  return lambda batch: gather(on_devices, batch.first, batch.stride)


def _frame_range(windows, window):
  """Return the range of frames that some windows cover, the end exclusive."""
  if not len(windows.first):
    return 0, 0
  last = windows.first + windows.stride * (window - 1)
  return int(windows.first.min()), int(last.max()) + 1


def _shifted(on_maps, offset):
  if on_maps is None:
    return None
  return lambda start, maps: on_maps(start + offset, maps)
