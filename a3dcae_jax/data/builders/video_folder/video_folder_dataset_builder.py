"""TFDS builder of your own videos."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class VideoFolder(ReaderBuilder):
  """Your own videos, one example per frame. See README.md in this folder."""

  name = 'video_folder'
  DESCRIPTION = 'Videos of normal days to train on, and others to score.'
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'Put your videos into training/ and testing/ in the manual folder.'
