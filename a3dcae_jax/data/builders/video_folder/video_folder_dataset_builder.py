"""TFDS builder of Your own footage."""

from a3dcae_jax.data.builders.base import FootageBuilder


class VideoFolder(FootageBuilder):
  """Your own footage: one example a frame; see README.md beside this file."""

  name = 'video_folder'
  HAS_MASKS = False
  DESCRIPTION = 'Videos of normal days to train on, and others to score. '
  HOMEPAGE = ''
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Put your videos under training/ and testing/ in the manual folder. '
  )
