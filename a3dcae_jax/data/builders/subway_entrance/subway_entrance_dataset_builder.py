"""TFDS builder of Subway entrance."""

from a3dcae_jax.data.builders.base import FootageBuilder


class SubwayEntrance(FootageBuilder):
  """Subway entrance: one example a frame; see README.md beside this file."""

  name = 'subway_entrance'
  HAS_MASKS = False
  DESCRIPTION = (
      'One long video of a subway entrance, 144,249 frames. Wrong direction, no payment and loitering are '
      'abnormal. ')
  HOMEPAGE = ''
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Ask the authors (Adam et al. 2008) for the video and put it, alone, into the manual folder. ')
