"""How much there is in a frame, and what normalising it by that multiplies it with."""


def squared_gain(energy, contrast):
  """2 c^2 / (E + c^2), of frames of mean square E [...], numpy or JAX: what their squares are multiplied with where they are normalised to contrast c > 0.

  1 at E = c^2; 2 at most, so that the noise of an empty frame stays noise; about 2 c^2 / E for E far above c^2, so that all of those get one energy.
  """
  return 2 * contrast**2 / (energy + contrast**2)
