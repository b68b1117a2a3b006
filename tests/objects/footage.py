"""Made footage: dark rectangles that walk over a textured ground."""

import numpy as np
from scipy import ndimage

from a3dcae_jax.data.frame_cache import CachedVideo, Split

HEIGHT, WIDTH = 80, 120
SIZE = (8, 20)  # width and height of a rectangle


def ground(seed: int = 0) -> np.ndarray:
  """Return a textured ground, float [H, W], grey levels."""
  noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH))
  return 140 + 25 * ndimage.gaussian_filter(noise, 3) / 0.1


def frame_of(rectangles=(), *, seed=0, gain=1.0, offset=0.0, noise_seed=1) -> np.ndarray:
  """Return a frame, uint8 [H, W], with rectangles at (x, y) of their upper left corner."""
  image = ground(seed)
  for x, y in rectangles:
    image[max(y, 0) : y + SIZE[1], max(x, 0) : x + SIZE[0]] = 20
  image = gain * image + offset + np.random.default_rng(noise_seed).normal(size=image.shape)
  return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def walking(count: int, *, first: int = 0) -> np.ndarray:
  """Return frames of two rectangles that walk past each other, uint8 [N, H, W]."""
  frames = []
  for index in range(first, first + count):
    places = [(3 * index % (WIDTH - 8), 20), ((WIDTH - 8) - 2 * index % (WIDTH - 8), 45)]
    frames.append(frame_of(places, noise_seed=index))
  return np.stack(frames)


def split_of(frames: np.ndarray, lengths: list[int], scenes: list[str] | None = None) -> Split:
  """Return a split whose videos have these lengths."""
  videos = []
  first = 0
  for number, length in enumerate(lengths):
    scene = scenes[number] if scenes else ''
    videos.append(CachedVideo(f'{number + 1:02d}', first, length, scene))
    first += length
  return Split(frames, tuple(videos))
