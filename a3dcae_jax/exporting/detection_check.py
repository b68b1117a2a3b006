"""Compare an exported program that finds and scores objects with the checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.evaluation.detected_program import DetectedRecipe
from a3dcae_jax.evaluation.object_calibration import ObjectCalibration
from a3dcae_jax.evaluation.object_scorer import ObjectCheckpointScorer
from a3dcae_jax.objects.box_program import FoundBoxes, find_boxes
from a3dcae_jax.objects.boxes import make_boxes, select_boxes
from a3dcae_jax.objects.clips import object_rows
from a3dcae_jax.serving.object_statistics import (
  ObjectStatistics,
  object_errors,
  vertical_edges,
)

_CLIPS = 4
_SAME_PX = 1.0  # corners of one object by two programs are at most so far apart
_BORDERLINE = 0.05  # share of objects whose detection may hang on rounding
_TOLERANCE = {'rtol': 0.02, 'atol': 0.1}  # of errors, which are sums of z-scores


class SampleClips(NamedTuple):
  """Clips of training videos.

  Attributes:
    frames: uint8 [N, H, W].
    rows: int32 [B, T], frames of each clip.
  """

  frames: np.ndarray
  rows: np.ndarray


def clips_with_objects(
  calibration: ObjectCalibration, split: Split, videos: Sequence[CachedVideo], window: int
) -> SampleClips:
  """Return the clips of training frames with many objects, far apart.

  Args:
    calibration: knows how many objects each frame has.
    split: training frames.
    videos: those that calibrate.
    window: frames per clip, T.
  """
  counts = np.bincount(calibration.frame, minlength=sum(calibration.num_frames))
  parts = [part for part in np.array_split(np.arange(len(counts)), _CLIPS) if len(part)]
  chosen = np.asarray([part[counts[part].argmax()] for part in parts])
  ends = np.cumsum([video.num_frames for video in videos])
  video = np.searchsorted(ends, chosen, side='right')
  low = np.asarray([each.first for each in videos])
  high = low + [each.num_frames - 1 for each in videos]
  frame = low[video] + chosen - np.r_[0, ends][video]
  rows = object_rows(frame, low[video], high[video], window=window)
  own_rows = np.arange(rows.size, dtype=np.int32).reshape(rows.shape)
  return SampleClips(np.asarray(split.frames[rows.ravel()]), own_rows)


def check_detection_program(
  recipe: DetectedRecipe,
  scorer: ObjectCheckpointScorer,
  statistics: ObjectStatistics,
  program: tuple[export.Exported, Mapping[str, np.ndarray]],
  clips: SampleClips,
) -> dict[str, Any]:
  """Compare a program, read back from its bytes, with the checkpoint.

  The checkpoint's objects are found, selected, measured and compared with training objects one
  after another, as in training and evaluation.

  Args:
    recipe: what the program computes.
    scorer: scorer of the checkpoint.
    statistics: of the training objects.
    program: the program, and the arrays that it reads.
    clips: on which they are compared.

  Returns:
    The number of clips and of objects, and the largest difference of the errors of objects.

  Raises:
    RuntimeError: if they disagree.
  """
  model, arrays = program
  read = jax.jit(export.deserialize(model.serialize()).call)
  found = jax.device_get(read(arrays, *clips))
  return compare_objects(found[:4], list(_objects(recipe, scorer, statistics, clips)))


def compare_objects(
  found: tuple[np.ndarray, ...], expected: Sequence[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
  """Compare the objects of clips as two programs find and score them.

  Args:
    found: boxes, places, errors and worst errors by the exported program, see
      `detected_program.detected_program`.
    expected: boxes [M, 4] and errors [M] of the checkpoint, for each clip.

  Returns:
    See `check_detection_program`.

  Raises:
    RuntimeError: if they disagree.
  """
  total = other = 0
  differences = [np.zeros(0)]
  for corners, valid, errors, worst, (boxes, own) in zip(*found, expected, strict=True):
    corners, errors = corners[valid], errors[valid]
    distance = np.abs(corners[:, None] - boxes[None]).max(-1)
    one, another = np.nonzero(distance <= _SAME_PX)
    total += len(boxes)
    other += len(boxes) - len(set(another)) + len(corners) - len(set(one))
    _check_close(errors[one], own[another])
    _check_close(worst, errors.max(initial=0))
    differences.append(np.abs(errors[one] - own[another]))
  if other > _BORDERLINE * total:
    raise RuntimeError(
      f'the exported program that finds objects disagrees with the checkpoint: {other} objects are '
      f'found by one of them alone, {total} by the checkpoint'
    )
  difference = float(np.concatenate(differences).max(initial=0))
  return {'clips': len(expected), 'objects': total, 'max_difference': difference}


def _objects(recipe, scorer, statistics, clips):
  """Yield boxes [M, 4] and errors [M] of the checkpoint's objects in each clip."""
  middle = clips.frames[clips.rows[:, clips.rows.shape[1] // 2]]
  program = jax.jit(lambda variables, frames: find_boxes(recipe.model, variables, frames))
  found = FoundBoxes(*jax.device_get(program(recipe.model.variables, middle)))
  for index, (corners, score, label, valid) in enumerate(zip(*found, strict=True)):
    boxes = make_boxes(np.zeros(valid.sum()), corners[valid], score[valid], label[valid])
    boxes = select_boxes(boxes, recipe.boxes).corners
    if not len(boxes):
      yield boxes, np.zeros(0)
      continue
    rows = np.repeat(clips.rows[index : index + 1], len(boxes), axis=0)
    measured = np.asarray(scorer.measure(clips.frames, rows, boxes))
    edges = vertical_edges(boxes, clips.frames.shape[1])
    yield boxes, object_errors(statistics.zscores(edges, measured), recipe.weights)


def _check_close(found, expected):
  if not np.allclose(found, expected, **_TOLERANCE):
    raise RuntimeError(
      'the exported program that finds objects disagrees with the checkpoint: errors '
      f'{np.ravel(found)[:4]}, not {np.ravel(expected)[:4]}'
    )
