"""TFDS builder of CUHK Avenue."""

from a3dcae_jax.data.builders.base import FootageBuilder


class Avenue(FootageBuilder):
  """CUHK Avenue: one example a frame; see README.md beside this file."""

  name = 'avenue'
  HAS_MASKS = True
  DESCRIPTION = (
      'An avenue on a campus: 16 training and 21 test videos, 640x360, 25 frames/s. Running, throwing, '
      'loitering and walking in the wrong direction are abnormal. ')
  HOMEPAGE = 'http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
      'Put training_videos/NN.avi, testing_videos/NN.avi and '
      'ground_truth_demo/testing_label_mask/N_label.mat into the manual folder. ')
