"""Checks of static shapes, with messages that name the axis, its size and the rule."""


def check_rank(name, array, axes):
  """Raises `ValueError` unless `array` has one axis for each letter of `axes` (such as 'BTHWC')."""
  if array.ndim != len(axes):
    raise ValueError(f'{name} must be [{", ".join(axes)}], got shape {tuple(array.shape)}')


def check_divisible(name, array, window):
  """Raises `ValueError` unless T, H and W of `array [B, T, H, W, C]` are multiples of `window (pt, ph, pw)`."""
  for axis, size, step in zip('THW', array.shape[1:4], window, strict=True):
    if size % step:
      raise ValueError(f'{name}: {axis} (={size}) must be divisible by the pool window (={step})')
