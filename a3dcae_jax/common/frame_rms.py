"""The gain that normalises a frame towards a target root mean square."""

from typing import TypeVar

Array = TypeVar('Array')  # numpy or JAX


def squared_gain(energy: Array, target_rms: float) -> Array:
  """Compute the squared gain of frames that are normalised towards `target_rms`.

      gain^2 = 2 c^2 / (E + c^2)

  The gain is 1 at E = c^2. For E far above c^2 it is about sqrt(2) c / sqrt(E), so that all such
  frames get the same energy. It never exceeds sqrt(2), so that the noise of an empty frame stays
  noise.

  Args:
    energy: mean squares E of frames, of any shape.
    target_rms: c, above 0.

  Returns:
    Squared gains, of the shape of `energy`.
  """
  return 2 * target_rms**2 / (energy + target_rms**2)
