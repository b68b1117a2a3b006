"""TFDS builder of UCSD Ped2."""

from a3dcae_jax.data.builders.base import FootageBuilder


class UcsdPed2(FootageBuilder):
  """UCSD Ped2: one example a frame; see README.md beside this file."""

  name = 'ucsd_ped2'
  HAS_MASKS = True
  DESCRIPTION = (
      'A walkway seen from the side: 16 training and 12 test clips, 360x240, grey. Bicycles, skaters and a '
      'cart are abnormal. ')
  HOMEPAGE = 'http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Put the footage into the manual folder as training/frames/NN/NNN.jpg and testing/frames/NN/NNN.jpg, with UCSDped2.m '
      '(the authors\' label script) beside them, or give its folder as `root`.')
