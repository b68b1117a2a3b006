"""Optical flow by least squares in a Gaussian window around each pixel.

The flow (u, v) at a pixel position is the least-squares solution of I_t = -(I_x u + I_y v) in a
Gaussian window in space and time:

    |(u, v)| = |(M + c)^-1 (mean I_x I_t, mean I_y I_t)|
    M = the means of (I_x^2, I_x I_y; I_x I_y, I_y^2)

The damping c keeps positions without gradients still.

Source: Lucas & Kanade, IJCAI 1981.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Flow is measured in pixels of a frame of this height, so that it is the same at any frame size.
REFERENCE_PX = 112

# A flow image is 1 at this speed, in reference pixels per frame. Walkers hardly reach it.
UNIT_PX = 2.0

# Flow images are cut off at this value: least squares do not measure faster motion.
FASTEST = 2.0

SIGMA_PX = 4.0  # of the window over rows and columns, in reference pixels
SIGMA_FRAMES = 2.0  # of the window over frames
BLUR_PX = 0.7  # of the blur before gradients are taken, in reference pixels
DAMPING = 1e-4  # c, in squared grey levels per pixel

# A speed is a difference of products of small numbers. The precision that accelerators use for
# float32 matrix products by default would change it visibly.
_EXACT = {'optimize': 'optimal', 'precision': 'highest'}


def flow_images(pixels: jax.Array) -> jax.Array:
  """Compute the magnitude of the optical flow of clips, as images.

  Args:
    pixels: clips in [0, 1], [B, T, H, W] with T, H and W of at least 2.

  Returns:
    float32 [B, T, H, W] in [0, FASTEST], in units of `UNIT_PX` reference pixels per frame.
  """
  _, frames, height, width = pixels.shape
  scale = height / REFERENCE_PX  # pixels per reference pixel
  blur_rows = gaussian_matrix(height, BLUR_PX * scale, 1)
  blur_columns = gaussian_matrix(width, BLUR_PX * scale, 1)
  images = jnp.einsum(
    'bthw,ih,jw->btij', pixels.astype(jnp.float32), blur_rows, blur_columns, **_EXACT
  )
  in_time = jnp.gradient(images, axis=1)
  down, across = jnp.gradient(images, axis=(2, 3))
  products = gradient_products(in_time, scale * down, scale * across)
  window = (
    gaussian_matrix(frames, SIGMA_FRAMES, 1),
    gaussian_matrix(height, SIGMA_PX * scale, 1),
    gaussian_matrix(width, SIGMA_PX * scale, 1),
  )
  means = window_means(products, window)
  return jnp.minimum(speed(*means, DAMPING) / UNIT_PX, FASTEST)


def gradient_products(in_time: jax.Array, down: jax.Array, across: jax.Array) -> jax.Array:
  """Multiply the gradients I_t, I_y and I_x of images, [...] each.

  Returns:
    I_x^2, I_y^2, I_x I_y, I_x I_t and I_y I_t, [5, ...].
  """
  products = [
    across * across,
    down * down,
    across * down,
    across * in_time,
    down * in_time,
  ]
  return jnp.stack(products)


def window_means(maps: jax.Array, window: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
  """Take Gaussian means of maps over frames, rows and columns.

  Args:
    maps: [K, B, T, H, W].
    window: matrices of `gaussian_matrix` over frames [t, T], rows [h, H] and columns [w, W].

  Returns:
    [K, B, t, h, w].
  """
  return jnp.einsum('kbthw,st,ih,jw->kbsij', maps, *window, **_EXACT)


def speed(
  xx: jax.Array, yy: jax.Array, xy: jax.Array, xt: jax.Array, yt: jax.Array, damping: float
) -> jax.Array:
  """Compute |(u, v)| in pixels per frame; the arguments are those of `velocity`."""
  across, down, determinant = _solution(xx, yy, xy, xt, yt, damping)
  return jnp.hypot(across, down) / determinant


def velocity(
  xx: jax.Array, yy: jax.Array, xy: jax.Array, xt: jax.Array, yt: jax.Array, damping: float
) -> tuple[jax.Array, jax.Array]:
  """Compute (u, v) from the means of `gradient_products`, in pixels per frame.

  Args:
    xx: mean of I_x^2; all means have one shape.
    yy: mean of I_y^2.
    xy: mean of I_x I_y.
    xt: mean of I_x I_t.
    yt: mean of I_y I_t.
    damping: c, in squared grey levels per pixel.

  Returns:
    Velocities to the right and downwards, of the shape of the means.
  """
  across, down, determinant = _solution(xx, yy, xy, xt, yt, damping)
  return -across / determinant, -down / determinant


def _solution(xx, yy, xy, xt, yt, damping):
  """Return -u D, -v D and the determinant D of the damped equations."""
  xx = xx + damping
  yy = yy + damping
  determinant = xx * yy - xy * xy  # at least damping^2
  across = yy * xt - xy * yt
  down = xx * yt - xy * xt
  return across, down, determinant


def gaussian_matrix(size: int, sigma: float, step: int) -> jax.Array:
  """Make the matrix that takes Gaussian means along an axis.

  Args:
    size: length of the axis.
    sigma: standard deviation of the Gaussian, in elements.
    step: distance between the centres of the Gaussians, in elements.

  Returns:
    float32 [size // step, size]. Each row sums to 1.
  """
  centres = np.arange(size // step) * step + (step - 1) / 2
  elements = np.arange(size)
  distances = (elements[None] - centres[:, None]) / sigma
  weights = np.exp(-0.5 * np.square(distances))
  sums = weights.sum(1, keepdims=True)
  return jnp.asarray(weights / sums, jnp.float32)
