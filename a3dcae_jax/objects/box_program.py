"""Boxes of frames by YOLOX as one program: resized, detected, decoded, suppressed.

It computes what `objects.yolox` computes by onnxruntime and NumPy. All its shapes are fixed: every
frame has the same number of boxes, and a mask says which of them were found.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.models.yolox import BOX_COLUMNS, STRIDES, Yolox
from a3dcae_jax.objects.boxes import MIN_SCORE, NMS_IOU, SelectOptions
from a3dcae_jax.objects.yolox_file import YoloxModel
from a3dcae_jax.ops.letterbox import fitted_size, letterbox

MAX_FOUND = 256
"""Boxes of a frame that are kept; there are 1 to 40 in the frames of UCSD Ped2."""

_LARGEST_LOG_SIZE = 20
_LEAST_UNION = 1e-9


class FoundBoxes(NamedTuple):
  """Boxes of frames, best first.

  Attributes:
    corners: float32 [B, K, 4], x1, y1, x2, y2 in pixels of the frame.
    score: float32 [B, K].
    label: int32 [B, K].
    valid: bool [B, K], whether a box was found.
  """

  corners: jax.Array
  score: jax.Array
  label: jax.Array
  valid: jax.Array


def find_boxes(model: YoloxModel, variables: Any, frames: jax.Array) -> FoundBoxes:
  """Return the boxes of frames, `MAX_FOUND` places for each.

  Args:
    model: gives the size of the network and of its input.
    variables: of the network.
    frames: uint8 [B, H, W].
  """
  height, width = frames.shape[1:]
  _, _, ratio = fitted_size(height, width, model.input_px)
  rows = Yolox(model.size).apply(variables, letterbox(frames, model.input_px))
  corners, scores = decoded(rows, model.input_px)
  corners = corners / np.float32(ratio)
  score = scores.max(-1)
  place, valid = suppressed(corners, score, MAX_FOUND)
  corners = _taken(corners, place)
  limits = jnp.asarray([width, height, width, height], jnp.float32)
  inside = jnp.clip(corners, 0, limits)
  valid &= (inside[..., 2:] > inside[..., :2]).all(-1)
  label = _taken(scores.argmax(-1).astype(jnp.int32), place)
  return FoundBoxes(inside, _taken(score, place), label, valid)


def decoded(rows: Any, input_px: tuple[int, int], xp: Any = jnp) -> tuple[Any, Any]:
  """Return corners [..., P, 4] and scores [..., P, classes] of all places.

  Corners are in pixels of the input.

  Args:
    rows: output of the network, see `models.yolox.Yolox`.
    input_px: height and width of its input.
    xp: `jax.numpy`, or `numpy` outside of programs.
  """
  places, strides = grid(input_px)
  centres = (rows[..., :2] + places) * strides
  half = xp.exp(xp.minimum(rows[..., 2:4], _LARGEST_LOG_SIZE)) * strides / 2
  scores = xp.clip(rows[..., BOX_COLUMNS:] * rows[..., BOX_COLUMNS - 1 : BOX_COLUMNS], 0, 1)
  return xp.concatenate([centres - half, centres + half], -1), scores


@functools.cache
def grid(input_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Return columns and rows of the output places, and their strides.

  They are float32 [P, 2] and float32 [P, 1].
  """
  places = []
  strides = []
  for stride in STRIDES:
    rows, columns = np.mgrid[: input_px[0] // stride, : input_px[1] // stride]
    places.append(np.stack([columns, rows], -1).reshape(-1, 2))
    strides.append(np.full((rows.size, 1), stride))
  return np.concatenate(places).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppressed(corners: jax.Array, score: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
  """Return the boxes that no better box overlaps, as `boxes.suppress` does.

  Boxes with a score below `MIN_SCORE` are left out. The best box that is left is taken, and those
  that it overlaps are left out, until there is none in any frame.

  Args:
    corners: [B, P, 4].
    score: [B, P].
    most: boxes that are taken, K.

  Returns:
    int32 [B, K], the places of the boxes, and bool [B, K], whether there is one.
  """
  batch = score.shape[0]
  left = jnp.where(score >= MIN_SCORE, score, -1)
  columns = jnp.arange(score.shape[1])

  def goes_on(state):
    count, left, _, _ = state
    return (count < most) & (left >= 0).any()

  def take(state):
    count, left, place, valid = state
    best = left.argmax(1).astype(jnp.int32)
    found = left.max(1) >= 0
    overlap = _iou(_taken(corners, best[:, None]), corners)
    left = jnp.where((overlap >= NMS_IOU) | (columns == best[:, None]), -1, left)
    place = jax.lax.dynamic_update_slice(place, best[:, None], (0, count))
    valid = jax.lax.dynamic_update_slice(valid, found[:, None], (0, count))
    return count + 1, left, place, valid

  start = (0, left, jnp.zeros((batch, most), jnp.int32), jnp.zeros((batch, most), bool))
  _, _, place, valid = jax.lax.while_loop(goes_on, take, start)
  return place, valid


def selected(found: FoundBoxes, options: SelectOptions) -> FoundBoxes:
  """Return the boxes that are used, as `boxes.select_boxes` does.

  Args:
    found: boxes of frames.
    options: see `SelectOptions`; a frame has `max_per_frame` boxes afterwards.
  """
  keep = found.valid & (found.score >= np.float32(options.min_score))
  if options.classes:
    keep &= jnp.isin(found.label, jnp.asarray(options.classes, jnp.int32))
  sides = found.corners[..., 2:] - found.corners[..., :2]
  keep &= sides.min(-1) >= options.min_size_px
  order = jnp.argsort(~keep, axis=1, stable=True)[:, : options.max_per_frame]
  columns = [_taken(column, order) for column in found[:3]]
  return FoundBoxes(*columns, _taken(keep, order))


def _taken(values: jax.Array, places: jax.Array) -> jax.Array:
  """Return values [B, P, ...] at places [B, K]."""
  extra = (1,) * (values.ndim - 2)
  return jnp.take_along_axis(values, places.reshape(*places.shape, *extra), axis=1)


def _iou(one: jax.Array, others: jax.Array) -> jax.Array:
  """Return intersection over union of a box [B, 1, 4] with each of P, [B, P]."""
  upper = jnp.maximum(one[..., :2], others[..., :2])
  lower = jnp.minimum(one[..., 2:], others[..., 2:])
  shared = jnp.maximum(lower - upper, 0).prod(-1)
  union = _area(one) + _area(others) - shared
  return shared / jnp.maximum(union, _LEAST_UNION)


def _area(corners: jax.Array) -> jax.Array:
  return jnp.maximum(corners[..., 2:] - corners[..., :2], 0).prod(-1)
