"""TFDS builder of ShanghaiTech Campus."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class Shanghaitech(ReaderBuilder):
  """ShanghaiTech Campus, one example per frame. See README.md in this folder."""

  name = 'shanghaitech'
  HAS_MASKS = True
  DESCRIPTION = (
    'Thirteen cameras on a campus: 330 training videos, 107 test videos of 40,791 frames, '
    '856x480. Bicycles, chases, fights and more are abnormal.'
  )
  HOMEPAGE = 'https://svip-lab.github.io/dataset/campus_dataset.html'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'The home page links the archive (OneDrive, Baidu; about 30 GB when unpacked). Unpack it into '
    'the manual folder, so that training/videos/*.avi, testing/frames/NN_NNNN/*.jpg, '
    'testing/test_frame_mask/*.npy and testing/test_pixel_mask/*.npy are there; or give its '
    'folder as `root`. If the links are dead, ask the authors (svip-lab.github.io).'
  )
