"""Time the detection and the measurement of objects in the frames of a cache.

Both are timed alone, and as the one program that bundles contain.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import jax
import numpy as np

from a3dcae_jax.config import checked, make_config
from a3dcae_jax.data.frame_cache import CachedVideo, FrameCache
from a3dcae_jax.evaluation.detected_program import DetectedRecipe, detected_program
from a3dcae_jax.evaluation.object_scorer import ObjectCheckpointScorer, make_object_recipe
from a3dcae_jax.evaluation.program import scoring_weights
from a3dcae_jax.exporting.object_bundle import detector_model
from a3dcae_jax.measuring.object_programs import detect_arrays, fresh_object_state
from a3dcae_jax.objects.box_cache import video_detector
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.clips import object_rows, object_table
from a3dcae_jax.objects.detectors import Detector, make_detector
from a3dcae_jax.objects.yolox import YoloxDetector
from a3dcae_jax.ops.conv_algorithm import target_platform

_DETECTED_FRAMES = 200
_REPS = 5


def measure_objects(
  folder: str, *, detector: str, variants: str, batch_size: int
) -> dict[str, Any]:
  """Time both steps from frames to measurements, on the first test video.

  Args:
    folder: the frame cache.
    detector: as `objects.detector`; it runs in this process. The foreground runs on one core,
      networks on all of them.
    variants: names of the variants that give the networks.
    batch_size: objects per batch.

  Returns:
    Rates: detected_frames_per_s; onnxruntime_frames_per_s, measured in turn with it where
    onnxruntime can run the detector, and detection_ratio, of the two; objects_per_s, from resident
    frames and boxes to measurements, the median over repetitions; measured_frames_per_s, at the
    number of objects per frame found, with the frames between two scored ones; and, of networks
    that a bundle can run, program_frames_per_s, from resident frames to errors by one program, for
    batches of as many frames as objects.
  """
  cache = FrameCache.open(folder)
  settings = checked(make_config(cache.index['name'], variants))
  video = cache.test.videos[0]
  video = video._replace(num_frames=min(video.num_frames, _DETECTED_FRAMES))
  named = make_detector(detector)
  opened = video_detector(cache, named)
  boxes = opened.detect_video(cache.test, video)
  rates = _detection_rates(lambda: opened.detect_video(cache.test, video), cache, video, named)
  boxes = select_boxes(boxes._replace(frame=boxes.frame + video.first), settings.objects)
  per_frame = len(boxes.frame) / video.num_frames
  step = settings.eval.object_step
  seconds = _seconds_per_batch(settings, cache, object_table(boxes, cache.test), batch_size)
  model = detector_model(named)
  if model is not None:
    rates |= _program_rate(settings, cache, video, model, batch_size)
  return {
    'mode': 'objects',
    'detector': detector,
    'variant': variants,
    'batch': batch_size,
    'height': cache.index['height'],
    'width': cache.index['width'],
    'device': jax.devices()[0].device_kind,
    'objects_per_frame': per_frame,
    'step_frames': step,
    'cores': len(os.sched_getaffinity(0)) if opened.uses_all_cores else 1,
    **rates,
    'objects_per_s': batch_size / seconds,
    'measured_frames_per_s': step * batch_size / seconds / max(per_frame, 1e-9),
  }


def describe(row: Mapping[str, Any]) -> str:
  """Return a measured row as one line for the terminal."""
  cores = 'one core' if row['cores'] == 1 else f'{row["cores"]} cores'
  beside = ''
  if 'onnxruntime_frames_per_s' in row:
    beside = (
      f' (onnxruntime {row["onnxruntime_frames_per_s"]:,.0f}, ratio {row["detection_ratio"]:.2f})'
    )
  by_one = ''
  if 'program_frames_per_s' in row:
    by_one = f'; one program does both at {row["program_frames_per_s"]:,.0f} frames/s, scoring each'
  return (
    f'objects: {row["detector"]} finds {row["objects_per_frame"]:.1f} objects per frame of '
    f'{row["width"]}x{row["height"]} at {row["detected_frames_per_s"]:,.0f} frames/s on '
    f'{cores}{beside}; '
    f'{row["variant"]} measures {row["objects_per_s"]:,.0f} objects/s in batches of '
    f'{row["batch"]}: {row["measured_frames_per_s"]:,.0f} frames/s, scoring one in '
    f'{row["step_frames"]}{by_one} ({row["device"]})'
  )


def _detection_rates(
  detect: Callable[[], Any], cache: FrameCache, video: CachedVideo, detector: Detector
) -> dict[str, float]:
  """Return the rate of a detector, beside that of onnxruntime where it can run it."""
  if detector.kind != 'yolox' or importlib.util.find_spec('onnxruntime') is None:
    return {'detected_frames_per_s': video.num_frames / _seconds(detect)}
  frames = np.asarray(cache.test.frames[video.first : video.first + video.num_frames])
  reference = YoloxDetector(detector.path)

  def detect_by_onnxruntime():
    with futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
      list(pool.map(reference.detect, frames))

  pairs = [(_seconds(detect), _seconds(detect_by_onnxruntime)) for _ in range(_REPS)]
  own, other = np.median(pairs, axis=0)
  return {
    'detected_frames_per_s': video.num_frames / own,
    'onnxruntime_frames_per_s': video.num_frames / other,
    'detection_ratio': float(np.median([second / first for first, second in pairs])),
  }


def _program_rate(settings, cache, video, model, batch_size):
  """Return the rate of the one program from frames to errors, after compilation."""
  recipe = make_object_recipe(settings)
  weights = settings.eval.object_weights
  program = jax.jit(
    detected_program(DetectedRecipe(recipe, model, settings.objects, weights), target_platform())
  )
  arrays = detect_arrays(scoring_weights(fresh_object_state(settings)), model)
  last = video.first + video.num_frames - 1
  frame = np.resize(np.arange(video.first, last + 1, dtype=np.int32), batch_size)
  ends = (np.full_like(frame, video.first), np.full_like(frame, last))
  rows = object_rows(frame, *ends, window=settings.clips.window)
  placed = jax.device_put((arrays, np.asarray(cache.test.frames), rows))
  jax.block_until_ready(program(*placed))
  times = [_seconds(lambda: jax.block_until_ready(program(*placed))) for _ in range(_REPS)]
  return {'program_frames_per_s': batch_size / float(np.median(times))}


def _seconds(call: Callable[[], Any]) -> float:
  start = time.perf_counter()
  call()
  return time.perf_counter() - start


def _seconds_per_batch(settings, cache, table, batch_size):
  """Return the median time of one batch, after compilation."""
  scorer = ObjectCheckpointScorer(make_object_recipe(settings), fresh_object_state(settings))
  frames = jax.device_put(np.asarray(cache.test.frames))
  objects = table.take(np.resize(np.arange(max(len(table.frame), 1)), batch_size))
  rows = object_rows(objects.frame, objects.low, objects.high, window=settings.clips.window)
  arguments = (frames, jax.device_put(rows), jax.device_put(objects.corners))
  scorer.measure(*arguments).block_until_ready()
  times = []
  for _ in range(_REPS):
    times.append(_seconds(lambda: scorer.measure(*arguments).block_until_ready()))
  return float(np.median(times))
