"""TFDS builder of UCSD Ped1."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class UcsdPed1(ReaderBuilder):
  """UCSD Ped1, one example per frame. See README.md in this folder."""

  name = 'ucsd_ped1'
  HAS_MASKS = True
  DESCRIPTION = (
    'A walkway seen from its end: 34 training and 36 test clips of 200 frames, 238x158, grey. '
    'Bicycles, skaters, carts and people on the grass are abnormal.'
  )
  HOMEPAGE = 'http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm'
  DOWNLOADS = {  # Ped1 and Ped2 in one archive
    'archive': 'http://www.svcl.ucsd.edu/projects/anomaly/UCSD_Anomaly_Dataset.tar.gz'
  }
