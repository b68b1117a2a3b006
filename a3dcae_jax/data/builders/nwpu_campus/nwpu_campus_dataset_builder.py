"""TFDS builder of NWPU Campus."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class NwpuCampus(ReaderBuilder):
  """NWPU Campus, one example per frame. See README.md in this folder."""

  name = 'nwpu_campus'
  DESCRIPTION = (
    '43 cameras on a campus, 25 frames/s, 16 hours: 305 training videos, 242 test videos of '
    '384,059 frames. 28 kinds of events are abnormal, some of them at certain cameras only.'
  )
  HOMEPAGE = 'https://campusvad.github.io'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'The home page links the archives. Unpack them into the manual folder, so that '
    'videos/Train/*.avi, videos/Test/*.avi and groundtruth/NWPU_Campus_gt.npz are there; or give '
    'their folder as `root`.'
  )
