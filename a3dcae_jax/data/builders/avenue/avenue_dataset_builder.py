"""TFDS builder of CUHK Avenue."""

from a3dcae_jax.data.builders.base import FootageBuilder


class Avenue(FootageBuilder):
  """CUHK Avenue: one example a frame; see README.md beside this file."""

  name = 'avenue'
  HAS_MASKS = True
  DESCRIPTION = (
    'An avenue on a campus: 16 training and 21 test videos, 640x360, 25 frames/s. Running, throwing, '
    'loitering and walking in the wrong direction are abnormal. '
  )
  HOMEPAGE = 'http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html'
  DOWNLOADS = {
    'videos': 'http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/Avenue_Dataset.zip',
    'labels': 'http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/ground_truth_demo.zip',
  }

  def unpacked(self, folders):
    return str(folders['videos']), {'ground_truth': str(folders['labels'])}
