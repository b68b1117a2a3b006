"""How much there is in a frame, and what normalising it by that multiplies it with."""

from a3dcae_jax.common.errors import UserError

USUAL_CONTRAST = (
  0.02  # of :paper and :small, so of what is measured; chosen in docs/notes/quality/paper-method.md
)


def check_contrast(field, contrast):
  """Raises `UserError` that names `field` unless `contrast` is one: 0 leaves frames as they are."""
  if not 0 <= contrast <= 1:
    raise UserError(f'{field} (={contrast}) must be between 0 and 1, in units of a pixel in [0, 1]')


def squared_gain(energy, contrast):
  """2 c^2 / (E + c^2), of frames of mean square E [...], numpy or JAX: what their squares are multiplied with where they are normalised to contrast c > 0.

  1 at E = c^2; 2 at most, so that the noise of an empty frame stays noise; about 2 c^2 / E for E far above c^2, so that all of those get one energy.
  """
  return 2 * contrast**2 / (energy + contrast**2)
