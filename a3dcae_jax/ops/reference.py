"""Slow, obvious NumPy float64 versions of every operator: what the tests and a reader trust."""

import itertools

import numpy as np


def conv3d(x, kernel):
  """Loops over the taps of Eq. (conv3d): x [B, T, H, W, Cin], kernel [kt, kh, kw, Cin, Cout] -> [B, T, H, W, Cout]."""
  x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
  sizes = kernel.shape[:3]
  padded = np.pad(x, [(0, 0), *[((s - 1) // 2, s // 2) for s in sizes], (0, 0)])
  y = np.zeros((*x.shape[:4], kernel.shape[-1]))
  for i, j, k in np.ndindex(*sizes):
    y += padded[:, i : i + x.shape[1], j : j + x.shape[2], k : k + x.shape[3]] @ kernel[i, j, k]
  return y


def deconv3d(x, kernel):
  """Full convolution by scattering every input over the kernel, then cropped to the input's size."""
  x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
  sizes = kernel.shape[:3]
  frames, height, width = x.shape[1:4]
  full = np.zeros(
    (x.shape[0], *[n + s - 1 for n, s in zip(x.shape[1:4], sizes, strict=True)], kernel.shape[-1])
  )
  for i, j, k in np.ndindex(*sizes):
    full[:, i : i + frames, j : j + height, k : k + width] += x @ kernel[i, j, k]
  low_t, low_h, low_w = [(s - 1) // 2 for s in sizes]
  return full[:, low_t : low_t + frames, low_h : low_h + height, low_w : low_w + width]


def max_pool3d_argmax(x, window):
  """One window at a time; the first maximum in row-major order wins."""
  x = np.asarray(x, np.float64)
  out = (x.shape[0], *[n // p for n, p in zip(x.shape[1:4], window, strict=True)], x.shape[4])
  values, places = np.zeros(out), np.zeros(out, np.uint8)
  for b, t, h, w, c in itertools.product(*map(range, out)):
    cell = x[
      b,
      t * window[0] : (t + 1) * window[0],
      h * window[1] : (h + 1) * window[1],
      w * window[2] : (w + 1) * window[2],
      c,
    ].ravel()
    places[b, t, h, w, c] = np.argmax(cell)
    values[b, t, h, w, c] = cell[np.argmax(cell)]
  return values, places


def max_unpool3d(values, places, window):
  """One value at a time, to `divmod` of its place."""
  values = np.asarray(values, np.float64)
  batch, frames, height, width, channels = values.shape
  y = np.zeros((batch, frames * window[0], height * window[1], width * window[2], channels))
  for b, t, h, w, c in itertools.product(*map(range, values.shape)):
    i, rest = divmod(int(places[b, t, h, w, c]), window[1] * window[2])
    j, k = divmod(rest, window[2])
    y[b, t * window[0] + i, h * window[1] + j, w * window[2] + k, c] = values[b, t, h, w, c]
  return y
