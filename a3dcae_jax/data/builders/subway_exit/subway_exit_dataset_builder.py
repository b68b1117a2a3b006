"""TFDS builder of Subway exit."""

from a3dcae_jax.data.builders.base import FootageBuilder


class SubwayExit(FootageBuilder):
  """Subway exit: one example a frame; see README.md beside this file."""

  name = 'subway_exit'
  HAS_MASKS = False
  DESCRIPTION = (
      'One long video of a subway exit, 64,900 frames. Wrong direction, loitering and cleaning are '
      'abnormal. ')
  HOMEPAGE = ''
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Ask the authors (Adam et al. 2008) for the video and put it, alone, into the manual folder. ')
