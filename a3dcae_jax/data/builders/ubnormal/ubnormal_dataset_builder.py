"""TFDS builder of UBnormal."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class Ubnormal(ReaderBuilder):
  """UBnormal, one example per frame. See README.md in this folder."""

  name = 'ubnormal'
  HAS_MASKS = True
  DESCRIPTION = (
    'Rendered people and vehicles in 29 scenes, 30 frames/s: 186 normal training videos, 211 test '
    'videos of 92,640 frames. Running, falling, fighting, accidents, fire and more are abnormal.'
  )
  HOMEPAGE = 'https://github.com/lilygeorgescu/UBnormal'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'The home page links the archive (Google Drive). Unpack it into the manual folder, so that '
    'SceneN/NAME.mp4 and SceneN/NAME_annotations/ are there, and copy the folder scripts of the '
    'home page beside them; or give their folder as `root`.'
  )
