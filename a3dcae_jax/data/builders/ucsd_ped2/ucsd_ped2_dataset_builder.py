"""TFDS builder of UCSD Ped2."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class UcsdPed2(ReaderBuilder):
  """UCSD Ped2, one example per frame. See README.md in this folder."""

  name = 'ucsd_ped2'
  HAS_MASKS = True
  DESCRIPTION = (
    'A walkway seen from the side: 16 training and 12 test clips, 360x240, grey. Bicycles, '
    'skaters and a cart are abnormal.'
  )
  HOMEPAGE = 'http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm'
  DOWNLOADS = {  # Ped1 and Ped2 in one archive
    'archive': 'http://www.svcl.ucsd.edu/projects/anomaly/UCSD_Anomaly_Dataset.tar.gz'
  }
