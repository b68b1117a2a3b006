"""How much there is in a frame, and what normalising it by that multiplies it with."""

from a3dcae_jax.common.errors import UserError

TUNED_RMS = (
  0.02  # of :paper and :small, so of what is measured; chosen in docs/notes/quality/paper-method.md
)


def check_target_rms(field, target_rms):
  """Raises `UserError` that names `field` unless `target_rms` is one: 0 leaves frames as they are."""
  if not 0 <= target_rms <= 1:
    raise UserError(
      f'{field} (={target_rms}) must be between 0 and 1, in units of a pixel in [0, 1]'
    )


def squared_gain(energy, target_rms):
  """2 c^2 / (E + c^2), of frames of mean square E [...], numpy or JAX: what their squares are multiplied with where they are normalised to target_rms c > 0.

  1 at E = c^2; 2 at most, so that the noise of an empty frame stays noise; about 2 c^2 / E for E far above c^2, so that all of those get one energy.
  """
  return 2 * target_rms**2 / (energy + target_rms**2)
