"""Boxes found once and kept beside the frames, in `boxes-KEY`.

    index.json   the detector, the SHA-256 of frames and files, counts
    train.npz    the columns of `Boxes` of the training split
    test.npz     of the test split
    model.npz    of the foreground: its backgrounds

A run that was killed continues with the next video: each has a part of its own until the end.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write, file_key, read_object, write_json
from a3dcae_jax.common.locks import exclusive
from a3dcae_jax.data.frame_cache import SPLITS, FrameCache, Split, file_hash
from a3dcae_jax.objects.box_csv import read_boxes
from a3dcae_jax.objects.boxes import Boxes, join_boxes, make_boxes
from a3dcae_jax.objects.detectors import (
  Detector,
  ForegroundVideos,
  VideoDetector,
  YoloxVideos,
  open_yolox,
)
from a3dcae_jax.objects.foreground import ForegroundModel

FORMAT = 1
_THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
_worker: tuple[Split, VideoDetector] | None = None  # of a process of the pool


def open_boxes(
  cache: FrameCache, detector: Detector, split: str, *, processes: int | None = None
) -> Boxes:
  """Return the boxes of a split; find and keep them if that was not done.

  Args:
    cache: the frame cache.
    detector: what finds the boxes, see `detectors.make_detector`.
    split: 'train' or 'test'.
    processes: how many share the videos, by default one for each core. 1: none is started.

  Raises:
    UserError: if the file of the detector or a kept file is damaged.
  """
  folder = boxes_folder(cache, detector)
  with exclusive(folder / '.lock', 'finds the boxes'):
    index = _read_index(folder, cache, detector)
    if split not in index['splits']:
      boxes = _find_boxes(cache, detector, split, folder, processes)
      _write_split(folder, index, split, boxes)
    return _read_split(folder, index, split)


def boxes_folder(cache: FrameCache, detector: Detector) -> pathlib.Path:
  """Return the folder of a detector's boxes: its key says what they depend on."""
  text = json.dumps([FORMAT, detector.identity, _frames_identity(cache)], sort_keys=True)
  return cache.folder / f'boxes-{hashlib.sha256(text.encode()).hexdigest()[:8]}'


def foreground_model(cache: FrameCache, detector: Detector) -> ForegroundModel:
  """Return the model of a foreground detector; fit and keep it if that was not done.

  Args:
    cache: the frame cache; its training split is opened if it is not.
    detector: of the kind 'foreground'.
  """
  path = boxes_folder(cache, detector) / 'model.npz'
  if not path.exists():
    train = cache.train or FrameCache.open(cache.folder, ('train',)).train
    model = ForegroundModel.fit(train, detector.parameters)
    with atomic_write(path, 'wb') as file:
      np.savez_compressed(file, **model.to_arrays())
  return ForegroundModel.from_arrays(_read_arrays(path), path)


def video_detector(cache: FrameCache, detector: Detector) -> VideoDetector:
  """Open a detector that computes its boxes, for the videos of a cache.

  Raises:
    UserError: for boxes from a file.
  """
  if detector.kind == 'foreground':
    return ForegroundVideos(foreground_model(cache, detector))
  if detector.kind == 'yolox':
    return YoloxVideos(open_yolox(detector.path))
  raise UserError(f'{detector.name}: the boxes are in a file, no detector computes them')


def _frames_identity(cache: FrameCache) -> list[Any]:
  files = {name: cache.index['files'].get(name, '') for name in ('train.npy', 'test.npy')}
  videos = []
  for split in SPLITS:
    for video in cache.index['splits'][split]['videos']:
      videos.append([split, video['name'], video['num_frames'], video['scene']])
  return [files, videos]


def _find_boxes(
  cache: FrameCache,
  detector: Detector,
  split: str,
  folder: pathlib.Path,
  processes: int | None,
) -> Boxes:
  """Find the boxes of all videos of a split."""
  if detector.kind == 'csv':
    return read_boxes(detector.path, cache.index, split)
  opened = getattr(cache, split) or getattr(FrameCache.open(cache.folder, (split,)), split)
  parts = folder / 'parts'
  parts.mkdir(exist_ok=True)
  if detector.kind == 'foreground':
    foreground_model(cache, detector)
  paths = [parts / f'{split}-{file_key(video.name)}.npz' for video in opened.videos]
  waiting = [number for number, path in enumerate(paths) if not path.exists()]
  if waiting:
    _detect_videos(cache.folder, detector, split, opened, paths, waiting, processes)
  found = []
  for path, video in zip(paths, opened.videos, strict=True):
    boxes = _as_boxes(_read_arrays(path))
    found.append(boxes._replace(frame=boxes.frame + np.int32(video.first)))
  return join_boxes(found)


def _detect_videos(
  cache_folder: pathlib.Path,
  detector: Detector,
  split: str,
  opened: Split,
  paths: Sequence[pathlib.Path],
  waiting: Sequence[int],
  processes: int | None,
) -> None:
  """Write the parts of the videos that have none yet, the longest first."""
  lengths = [video.num_frames for video in opened.videos]
  order = sorted(waiting, key=lambda number: -lengths[number])
  processes = min(processes or len(os.sched_getaffinity(0)), len(order))
  bar = tqdm.tqdm(
    desc=f'find objects {split}',
    total=sum(lengths),
    initial=sum(lengths) - sum(lengths[number] for number in order),
    unit=' frames',
    dynamic_ncols=True,
  )
  arguments = (cache_folder, detector, split)
  worker = _open_worker(*arguments)  # so that a fault shows before processes start
  with bar:
    if processes == 1 or worker[1].uses_all_cores:
      for number in order:
        bar.update(_write_part(worker, number, paths[number]))
      return
    context = multiprocessing.get_context('spawn')
    with (
      _one_thread_each(),
      futures.ProcessPoolExecutor(processes, context, _start_worker, arguments) as pool,
    ):
      running = [pool.submit(_work, number, paths[number]) for number in order]
      try:
        for future in futures.as_completed(running):
          bar.update(future.result())
      except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _open_worker(
  cache_folder: pathlib.Path, detector: Detector, split: str
) -> tuple[Split, VideoDetector]:
  """Open the frames and the detector, once in each process."""
  cache = FrameCache.open(cache_folder, (split,))
  return getattr(cache, split), video_detector(cache, detector)


def _start_worker(*arguments: Any) -> None:
  global _worker
  try:
    _worker = _open_worker(*arguments)
  except UserError as error:
    _worker = error  # a pool would hide what an initializer raises


def _work(number: int, path: pathlib.Path) -> int:
  if isinstance(_worker, UserError):
    raise _worker
  return _write_part(_worker, number, path)


def _write_part(worker: tuple[Split, VideoDetector], number: int, path: pathlib.Path) -> int:
  """Write the boxes of one video and return its number of frames."""
  split, detector = worker
  video = split.videos[number]
  boxes = detector.detect_video(split, video)
  with atomic_write(path, 'wb') as file:
    np.savez_compressed(file, **boxes._asdict())
  return video.num_frames


def _read_index(folder: pathlib.Path, cache: FrameCache, detector: Detector) -> dict[str, Any]:
  if not (folder / 'index.json').exists():
    frames = _frames_identity(cache)[0]
    return {'format': FORMAT, 'detector': detector.identity, 'frames': frames, 'splits': {}}
  index = read_object(folder / 'index.json')
  if index.get('format') != FORMAT or 'splits' not in index:
    raise UserError(f'{folder}/index.json is damaged; remove the folder to find the boxes anew')
  return index


def _write_split(folder: pathlib.Path, index: dict[str, Any], split: str, boxes: Boxes) -> None:
  path = folder / f'{split}.npz'
  with atomic_write(path, 'wb') as file:
    np.savez_compressed(file, **boxes._asdict())
  index['splits'][split] = {'boxes': len(boxes.frame), 'sha256': file_hash(path)}
  write_json(folder / 'index.json', index)
  for part in (folder / 'parts').glob(f'{split}-*.npz'):
    part.unlink()
  with contextlib.suppress(OSError):
    (folder / 'parts').rmdir()


def _read_split(folder: pathlib.Path, index: Mapping[str, Any], split: str) -> Boxes:
  path = folder / f'{split}.npz'
  if not path.exists() or file_hash(path) != index['splits'][split]['sha256']:
    raise UserError(
      f'{path} is absent or its SHA-256 differs from the one written; '
      f'remove {folder} to find the boxes anew'
    )
  return _as_boxes(_read_arrays(path))


def _as_boxes(arrays: Mapping[str, np.ndarray]) -> Boxes:
  return make_boxes(*(arrays[field] for field in Boxes._fields))


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as arrays:
      return dict(arrays)
  except Exception as error:  # zipfile and NumPy raise errors of many types for damaged bytes
    raise UserError(f'{path} cannot be read ({error}); remove it to make it anew') from None


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
  """Let processes that start meanwhile compute on one thread each."""
  before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
  os.environ.update(dict.fromkeys(_THREAD_VARIABLES, '1'))
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value
