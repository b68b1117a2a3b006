"""Checks of static shapes, with messages that name the axis, its size and the rule; and slices that keep an open batch open."""

from jax import lax


def check_rank(name, array, axes):
  """Raises `ValueError` unless `array` has one axis for each letter of `axes` (such as 'BTHWC')."""
  if array.ndim != len(axes):
    raise ValueError(f'{name} must be [{", ".join(axes)}], got shape {tuple(array.shape)}')


def check_divisible(name, array, window):
  """Raises `ValueError` unless T, H and W of `array [B, T, H, W, C]` are multiples of `window (pt, ph, pw)`."""
  for axis, size, step in zip('THW', array.shape[1:4], window, strict=True):
    if size % step:
      raise ValueError(f'{name}: {axis} (={size}) must be divisible by the pool window (={step})')


def sliced(x, *slices):
  """`x[:, *slices]`, as one `lax.slice` even where the first axis is symbolic: jnp's indexing makes gathers of it there, which are slow everywhere."""
  bounds = [part.indices(size) for part, size in zip(slices, x.shape[1:], strict=False)]
  rest = x.shape[1 + len(slices) :]
  starts, limits, strides = ([bound[i] for bound in bounds] for i in range(3))
  return lax.slice(
    x,
    (0, *starts, *(0 for _ in rest)),
    (x.shape[0], *limits, *rest),
    (1, *strides, *(1 for _ in rest)),
  )
