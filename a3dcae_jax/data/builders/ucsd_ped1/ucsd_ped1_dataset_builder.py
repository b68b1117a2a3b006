"""TFDS builder of UCSD Ped1."""

from a3dcae_jax.data.builders.base import FootageBuilder


class UcsdPed1(FootageBuilder):
  """UCSD Ped1: one example a frame; see README.md beside this file."""

  name = 'ucsd_ped1'
  HAS_MASKS = True
  DESCRIPTION = (
    'A walkway seen from its end: 34 training and 36 test clips of 200 frames, 238x158, grey. Bicycles, '
    'skaters, carts and people on the grass are abnormal. '
  )
  HOMEPAGE = 'http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm'
  DOWNLOADS = {
    'archive': 'http://www.svcl.ucsd.edu/projects/anomaly/UCSD_Anomaly_Dataset.tar.gz'
  }  # both Ped1 and Ped2
