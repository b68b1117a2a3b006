"""A detector of objects by the program of `objects.box_program`."""

import os
import pathlib
from collections import deque
from collections.abc import Iterator
from concurrent import futures

import jax
import numpy as np

from a3dcae_jax.objects.box_program import FoundBoxes, find_boxes
from a3dcae_jax.objects.boxes import Found
from a3dcae_jax.objects.yolox_file import read_yolox

_CPU_BATCH = 4
_ACCELERATOR_BATCH = 32
_ACCELERATOR_WORKERS = 2  # one copies frames while the other's batch is computed


class JaxYolox:
  """Finds objects in grey frames.

  Args:
    path: the ONNX file.

  Raises:
    UserError: see `yolox_file.read_yolox`.
  """

  def __init__(self, path: str | pathlib.Path):
    model = read_yolox(path)
    self._variables = jax.device_put(model.variables)
    self._program = jax.jit(lambda variables, frames: find_boxes(model, variables, frames))

  def detect(self, frame: np.ndarray) -> Found:
    """Return the boxes of a frame, uint8 [H, W], best first."""
    return next(self._boxes(frame[None]))

  def detect_frames(self, frames: np.ndarray) -> Iterator[Found]:
    """Yield the boxes of each of many frames.

    On CPUs each core computes batches of its own: XLA runs many operations of this network on one
    core each.

    Args:
      frames: uint8 [N, H, W].
    """
    on_cpu = jax.default_backend() == 'cpu'
    size = _CPU_BATCH if on_cpu else _ACCELERATOR_BATCH
    workers = len(os.sched_getaffinity(0)) if on_cpu else _ACCELERATOR_WORKERS
    waiting = deque()
    with futures.ThreadPoolExecutor(workers) as pool:
      for start in range(0, len(frames), size):
        waiting.append(pool.submit(self._batch, frames, start, size))
        if len(waiting) > 2 * workers:  # so that an interrupted run soon ends
          yield from waiting.popleft().result()
      while waiting:
        yield from waiting.popleft().result()

  def _batch(self, frames: np.ndarray, start: int, size: int) -> list[Found]:
    # The last batch is filled up by repetition, so that the program is compiled once.
    chosen = np.resize(np.arange(start, min(start + size, len(frames))), size)
    found = list(self._boxes(np.asarray(frames[chosen])))
    return found[: len(frames) - start]

  def _boxes(self, frames: np.ndarray) -> Iterator[Found]:
    found = FoundBoxes(*map(np.asarray, self._program(self._variables, frames)))
    for corners, score, label, valid in zip(*found, strict=True):
      yield corners[valid], score[valid], label[valid]
