"""A program on clips of frames, run in batches over all devices.

A batch has the same number of clips on each device, whatever the number of devices. So all results
are those of one device, to the bit.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from a3dcae_jax.data.device_cache import fits_on_device
from a3dcae_jax.serving.side_by_side import batch_map
from a3dcae_jax.training import parallel, processes

_MAX_PENDING = 2  # batches on accelerators while the host reads the results of an earlier one


class ClipProgram:
  """A program on clips, compiled once for all devices of this process.

  Args:
    program: (arrays, frames uint8 [N, H, W], rows int32 [B, T], *columns [B, ...]) -> a tree of
      arrays [B, ...].
  """

  def __init__(self, program: Callable[..., Any]) -> None:
    self._program = program
    self._resident = parallel.LocalMap(program, num_shared=2)
    self._streamed = parallel.LocalMap(program, num_shared=1)

  def compile(self, arrays: Any, frames: np.ndarray, one_clip: Any, batch_size: int) -> None:
    """Compile the program for `results`, so that it does not have to.

    Args:
      arrays: shapes of what the program reads beside the clips.
      frames: uint8 [N, H, W]; only their shape is read.
      one_clip: rows and columns of one clip, [1, ...].
      batch_size: clips per batch and device.
    """
    size = batch_size * parallel.num_local()
    columns = [jax.ShapeDtypeStruct((size, *each.shape[1:]), each.dtype) for each in one_clip]
    if fits_on_device(frames.size):
      self._resident.compile(arrays, jax.ShapeDtypeStruct(frames.shape, frames.dtype), *columns)
      return
    count = size * columns[0].shape[1]
    clips = jax.ShapeDtypeStruct((count, *frames.shape[1:]), frames.dtype)
    self._streamed.compile(arrays, clips, *columns)

  def results(
    self,
    arrays: Any,
    frames: np.ndarray,
    rows: np.ndarray,
    *columns: np.ndarray,
    batch_size: int,
    progress: str = '',
  ) -> Any:
    """Return the results of all clips, computed in shares by the processes of a pod.

    Args:
      arrays: what the program reads beside the clips.
      frames: uint8 [N, H, W]; copied to the devices as a whole if they fit.
      rows: int32 [M, T], frames of each clip.
      *columns: [M, ...], what else the program takes of each clip.
      batch_size: clips per batch and device.
      progress: title of a progress bar; empty for none.

    Returns:
      A tree of arrays [M, ...], on every process.
    """
    count = len(rows)
    share = processes.my_share(count)
    mine = tuple(column[share] for column in (rows, *columns))
    call = self._source(parallel.replicate(arrays), frames, batch_size)
    found = _run(call, mine, batch_size, progress if processes.is_primary() else '')
    found = [self._nothing(arrays, frames, mine), *found]
    found = jax.tree.map(lambda *parts: np.concatenate(parts)[: len(mine[0])], *found)
    return jax.tree.map(lambda array: processes.gather_shares(array, count), found)

  def _source(self, arrays, frames, batch_size):
    """Return (rows, *columns) -> results, with resident frames if they fit."""
    if fits_on_device(frames.size):
      on_devices = parallel.replicate(np.asarray(frames))
      return lambda *columns: self._resident(arrays, on_devices, *columns)

    def call(rows, *columns):
      clips = frames[rows]
      own_rows = np.arange(batch_size * rows.shape[1], dtype=np.int32).reshape(batch_size, -1)
      own_rows = np.tile(own_rows, (parallel.num_local(), 1))
      return self._streamed(arrays, clips.reshape(-1, *clips.shape[2:]), own_rows, *columns)

    return call

  def _nothing(self, arrays, frames, columns):
    """Return the results of no clips."""
    one = [jax.ShapeDtypeStruct((1, *column.shape[1:]), column.dtype) for column in columns]
    frame = jax.ShapeDtypeStruct((1, *frames.shape[1:]), frames.dtype)
    shapes = jax.eval_shape(self._program, arrays, frame, *one)
    return jax.tree.map(lambda array: np.zeros((0, *array.shape[1:]), array.dtype), shapes)


def _run(
  call: Callable[..., Any], columns: Sequence[np.ndarray], batch_size: int, progress: str
) -> Iterator[Any]:
  """Yield the results of all batches; the last one has results to spare."""
  count = len(columns[0])
  size = batch_size * parallel.num_local()

  def compute(start):
    # The last batch is filled up by repetition, so that the program is compiled once.
    chosen = np.resize(np.arange(start, min(start + size, count)), size)
    return call(*(column[chosen] for column in columns))

  starts = range(0, count, size)
  return tqdm.tqdm(
    _read(compute, starts),
    desc=progress,
    total=len(starts),
    unit='batch',
    disable=not progress,
    dynamic_ncols=True,
  )


def _read(compute: Callable[[int], Any], starts: Sequence[int]) -> Iterator[Any]:
  """Yield the results of batches as NumPy arrays; several are computed at a time."""
  if jax.default_backend() == 'cpu':
    yield from batch_map()(lambda start: jax.device_get(compute(start)), starts)
    return
  pending = deque()
  for start in starts:
    pending.append(compute(start))
    if len(pending) > _MAX_PENDING:
      yield jax.device_get(pending.popleft())
  while pending:
    yield jax.device_get(pending.popleft())
