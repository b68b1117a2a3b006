"""Slow, simple NumPy float64 versions of the operators, for comparison."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def conv3d(x: ArrayLike, kernel: ArrayLike) -> np.ndarray:
  """Compute `ops.conv3d.conv3d` by a loop over the taps of the kernel.

  Args:
    x: [B, T, H, W, Cin].
    kernel: [kt, kh, kw, Cin, Cout].

  Returns:
    [B, T, H, W, Cout].
  """
  x = np.asarray(x, np.float64)
  kernel = np.asarray(kernel, np.float64)
  batch, frames, height, width, _ = x.shape
  sizes = kernel.shape[:3]
  pads = [((size - 1) // 2, size // 2) for size in sizes]
  padded = np.pad(x, [(0, 0), *pads, (0, 0)])

  y = np.zeros((batch, frames, height, width, kernel.shape[-1]))
  for i, j, k in np.ndindex(*sizes):
    shifted = padded[
      :,
      i : i + frames,
      j : j + height,
      k : k + width,
    ]
    y += shifted @ kernel[i, j, k]
  return y


def deconv3d(x: ArrayLike, kernel: ArrayLike) -> np.ndarray:
  """Compute `ops.conv3d.deconv3d`: add up scaled kernels, one per input, then crop.

  Args:
    x: [B, T, H, W, Cin].
    kernel: [kt, kh, kw, Cin, Cout].

  Returns:
    [B, T, H, W, Cout].
  """
  x = np.asarray(x, np.float64)
  kernel = np.asarray(kernel, np.float64)
  batch, frames, height, width, _ = x.shape
  kernel_t, kernel_h, kernel_w, _, features = kernel.shape

  full = np.zeros(
    (
      batch,
      frames + kernel_t - 1,
      height + kernel_h - 1,
      width + kernel_w - 1,
      features,
    )
  )
  for i, j, k in np.ndindex(kernel_t, kernel_h, kernel_w):
    covered = full[
      :,
      i : i + frames,
      j : j + height,
      k : k + width,
    ]
    covered += x @ kernel[i, j, k]

  low_t = (kernel_t - 1) // 2
  low_h = (kernel_h - 1) // 2
  low_w = (kernel_w - 1) // 2
  return full[
    :,
    low_t : low_t + frames,
    low_h : low_h + height,
    low_w : low_w + width,
  ]


def strided_conv3d(x: ArrayLike, kernel: ArrayLike, strides: Sequence[int]) -> np.ndarray:
  """Compute `ops.strided_conv.strided_conv3d` by a loop over the taps of the kernel.

  Args:
    x: [B, T, H, W, Cin].
    kernel: [kt, kh, kw, Cin, Cout].
    strides: (st, sh, sw).

  Returns:
    [B, T/st, H/sh, W/sw, Cout].
  """
  x = np.asarray(x, np.float64)
  kernel = np.asarray(kernel, np.float64)
  outputs = [size // stride for size, stride in zip(x.shape[1:4], strides, strict=True)]
  padded = np.pad(x, [(0, 0), *_strided_pads(kernel, strides), (0, 0)])
  y = np.zeros((x.shape[0], *outputs, kernel.shape[-1]))
  for taps in np.ndindex(*kernel.shape[:3]):
    read = []
    for tap, count, stride in zip(taps, outputs, strides, strict=True):
      read.append(slice(tap, tap + (count - 1) * stride + 1, stride))
    y += padded[:, read[0], read[1], read[2]] @ kernel[taps]
  return y


def strided_deconv3d(x: ArrayLike, kernel: ArrayLike, strides: Sequence[int]) -> np.ndarray:
  """Compute `ops.strided_conv.strided_deconv3d`: add up kernels, then crop.

  Args:
    x: [B, T, H, W, Cin].
    kernel: [kt, kh, kw, Cin, Cout].
    strides: (st, sh, sw).

  Returns:
    [B, T*st, H*sh, W*sw, Cout].
  """
  x = np.asarray(x, np.float64)
  kernel = np.asarray(kernel, np.float64)
  inputs = x.shape[1:4]
  pads = _strided_pads(kernel, strides)
  sizes = [size * stride for size, stride in zip(inputs, strides, strict=True)]
  whole = [low + size + high for size, (low, high) in zip(sizes, pads, strict=True)]
  full = np.zeros((x.shape[0], *whole, kernel.shape[-1]))
  for taps in np.ndindex(*kernel.shape[:3]):
    written = []
    for tap, count, stride in zip(taps, inputs, strides, strict=True):
      written.append(slice(tap, tap + (count - 1) * stride + 1, stride))
    full[:, written[0], written[1], written[2]] += x @ kernel[taps]
  kept = [slice(low, low + size) for size, (low, _) in zip(sizes, pads, strict=True)]
  return full[:, kept[0], kept[1], kept[2]]


def _strided_pads(kernel: np.ndarray, strides: Sequence[int]) -> list[tuple[int, int]]:
  """Return the zeros (before, after) along each axis."""
  pads = []
  for size, stride in zip(kernel.shape[:3], strides, strict=True):
    low = (size - stride + 1) // 2
    pads.append((low, size - stride - low))
  return pads


def max_pool3d_argmax(x: ArrayLike, window: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
  """Compute `ops.pooling.max_pool3d_argmax`, one window at a time.

  Args:
    x: [B, T, H, W, C].
    window: (pt, ph, pw).

  Returns:
    Values and uint8 pool indices, [B, T/pt, H/ph, W/pw, C]. The first of equal maxima wins.
  """
  x = np.asarray(x, np.float64)
  step_t, step_h, step_w = window
  batch, frames, height, width, channels = x.shape
  shape = (
    batch,
    frames // step_t,
    height // step_h,
    width // step_w,
    channels,
  )
  values = np.zeros(shape)
  pool_indices = np.zeros(shape, np.uint8)
  for position in np.ndindex(*shape):
    b, t, h, w, c = position
    cell = x[
      b,
      t * step_t : (t + 1) * step_t,
      h * step_h : (h + 1) * step_h,
      w * step_w : (w + 1) * step_w,
      c,
    ]
    pool_indices[position] = np.argmax(cell)
    values[position] = np.max(cell)
  return values, pool_indices


def max_unpool3d(values: ArrayLike, pool_indices: ArrayLike, window: Sequence[int]) -> np.ndarray:
  """Compute `ops.pooling.max_unpool3d`, one value at a time.

  Args:
    values: [B, T, H, W, C].
    pool_indices: [B, T, H, W, C].
    window: (pt, ph, pw).

  Returns:
    [B, T*pt, H*ph, W*pw, C].
  """
  values = np.asarray(values, np.float64)
  step_t, step_h, step_w = window
  batch, frames, height, width, channels = values.shape
  y = np.zeros(
    (
      batch,
      frames * step_t,
      height * step_h,
      width * step_w,
      channels,
    )
  )
  for position in np.ndindex(*values.shape):
    b, t, h, w, c = position
    i, j, k = np.unravel_index(int(pool_indices[position]), window)
    y[
      b,
      t * step_t + i,
      h * step_h + j,
      w * step_w + k,
      c,
    ] = values[position]
  return y


def crop_clips(frames: ArrayLike, rows: ArrayLike, boxes: ArrayLike, size: int) -> np.ndarray:
  """Compute `ops.crops.crop_clips` sample by sample.

  Args:
    frames: [N, H, W].
    rows: int [B, T].
    boxes: [B, 4], x1, y1, x2, y2.
    size: height and width of the crops, S.

  Returns:
    [B, T, S, S].
  """
  frames = np.asarray(frames, np.float64) / 255
  rows = np.asarray(rows)
  crops = np.zeros((*rows.shape, size, size))
  samples = 2
  for index, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, np.float64)):
    for i, j, k, m in np.ndindex(size, size, samples, samples):
      y = y1 + (i + (k + 0.5) / samples) * (y2 - y1) / size
      x = x1 + (j + (m + 0.5) / samples) * (x2 - x1) / size
      for t, row in enumerate(rows[index]):
        crops[index, t, i, j] += _bilinear_sample(frames[row], x, y) / samples**2
  return crops


def _bilinear_sample(frame: np.ndarray, x: float, y: float) -> float:
  """Return the value of a frame at (x, y); the centre of pixel k is at k + 0.5."""
  height, width = frame.shape
  x = min(max(x - 0.5, 0), width - 1)
  y = min(max(y - 0.5, 0), height - 1)
  left, top = int(x), int(y)
  right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
  upper = (1 - (x - left)) * frame[top, left] + (x - left) * frame[top, right]
  lower = (1 - (x - left)) * frame[bottom, left] + (x - left) * frame[bottom, right]
  return (1 - (y - top)) * upper + (y - top) * lower
