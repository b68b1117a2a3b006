"""TFDS builder of Synthetic."""

from a3dcae_jax.data.builders.base import FootageBuilder


class Synthetic(FootageBuilder):
  """Synthetic: one example a frame; see README.md beside this file."""

  name = 'synthetic'
  HAS_MASKS = True
  DESCRIPTION = (
    'Footage made by this project: figures on lanes beside an escalator, under passing clouds; cyclists, '
    'carts, figures that cross the lanes and groups that stand are abnormal. Frame labels, pixel masks '
    'and region tracks are exact. '
  )
  HOMEPAGE = ''
