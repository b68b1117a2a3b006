"""TFDS builder of the synthetic set."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class Synthetic(ReaderBuilder):
  """The synthetic set, one example per frame. See README.md in this folder."""

  name = 'synthetic'
  HAS_MASKS = True
  DESCRIPTION = (
    'Videos drawn by this project: figures on lanes beside an escalator, under passing clouds. '
    'Cyclists, carts, figures that cross the lanes and groups that stand are abnormal. Frame '
    'labels, pixel masks and region tracks are exact.'
  )
