"""How fast what is seen moves, by least squares in a Gaussian window around each place (Lucas & Kanade, IJCAI 1981)."""

import jax.numpy as jnp
import numpy as np

REFERENCE_PX = (
  112  # flow images are in steps of a frame of this height, so that they are the same at any size
)
UNIT_PX = 2.0  # a flow image's 1.0: so many of those pixels a frame, which hardly a walker reaches
FASTEST = 2.0  # what a flow image ends at; beyond, least squares measure nothing
SIGMA_PX, SIGMA_FRAMES, BLUR_PX, DAMPING = (
  4.0,
  2.0,
  0.7,
  1e-4,
)  # of the window, of the frames before it, and what keeps places without damping still

# A speed is a difference of products of small numbers: what accelerators round float32 matrix products to by default would be seen in it.
_EXACT = {'optimize': 'optimal', 'precision': 'highest'}


def flow_images(pixels):
  """Optical flow's magnitude as images: [B, T, H, W] in [0, 1] -> float32 [B, T, H, W], in `UNIT_PX` pixels a frame of a frame of `REFERENCE_PX` rows.

      |(u, v)| = |(M + c)^-1 (mean I_x I_t, mean I_y I_t)|,   M the means of (I_x^2, I_x I_y; I_x I_y, I_y^2),   at most `FASTEST`

  Means are Gaussian, over `SIGMA_PX` and `SIGMA_FRAMES`, of the clip's own frames. T must be at least 2, H and W at least 2.
  """
  _, frames, height, width = pixels.shape
  size = height / REFERENCE_PX  # pixels in one of those that the settings are in
  blur = [gaussian_matrix(length, BLUR_PX * size, 1) for length in (height, width)]
  images = jnp.einsum('bthw,ih,jw->btij', pixels.astype(jnp.float32), *blur, **_EXACT)
  in_time, (down, across) = (
    jnp.gradient(images, axis=1),
    (size * slope for slope in jnp.gradient(images, axis=(2, 3))),
  )
  window = (
    gaussian_matrix(frames, SIGMA_FRAMES, 1),
    gaussian_matrix(height, SIGMA_PX * size, 1),
    gaussian_matrix(width, SIGMA_PX * size, 1),
  )
  return jnp.minimum(
    speed(*window_means(gradient_products(in_time, down, across), window), DAMPING) / UNIT_PX,
    FASTEST,
  )


def gradient_products(in_time, down, across):
  """(I_x^2, I_y^2, I_x I_y, I_x I_t, I_y I_t), [5, ...] of gradients [...]."""
  return jnp.stack([across * across, down * down, across * down, across * in_time, down * in_time])


def window_means(maps, window):
  """Gaussian means of maps [K, B, T, H, W] by matrices over (frames, rows, columns)."""
  return jnp.einsum('kbthw,st,ih,jw->kbsij', maps, *window, **_EXACT)


def speed(xx, yy, xy, xt, yt, damping):
  """|(u, v)| of the means of gradient products, in pixels a frame; `damping`, c in squared grey steps a pixel, keeps what has less still."""
  xx, yy = xx + damping, yy + damping
  determinant = xx * yy - xy * xy  # at least damping^2
  return jnp.hypot(yy * xt - xy * yt, xx * yt - xy * xt) / determinant


def gaussian_matrix(size, sigma, step):
  """Gaussian means of a row of `size` values around every `step`-th place, as a matrix [size // step, size] whose rows sum to 1."""
  centres = (np.arange(size // step) * step + (step - 1) / 2)[:, None]
  weights = np.exp(-0.5 * np.square((np.arange(size)[None] - centres) / sigma))
  return jnp.asarray(weights / weights.sum(1, keepdims=True), jnp.float32)
