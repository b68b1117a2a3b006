"""TFDS builder of CUHK Avenue."""

import pathlib
from collections.abc import Mapping
from typing import Any

from a3dcae_jax.data.builders.base import ReaderBuilder

_PROJECT = 'http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal'


class Avenue(ReaderBuilder):
  """CUHK Avenue, one example per frame. See README.md in this folder."""

  name = 'avenue'
  HAS_MASKS = True
  DESCRIPTION = (
    'An avenue on a campus: 16 training and 21 test videos, 640x360, 25 frames/s. Running, '
    'throwing, loitering and walking in the wrong direction are abnormal.'
  )
  HOMEPAGE = f'{_PROJECT}/dataset.html'
  DOWNLOADS = {
    'videos': f'{_PROJECT}/Avenue_Dataset.zip',
    'labels': f'{_PROJECT}/ground_truth_demo.zip',
  }

  def unpacked(self, folders: Mapping[str, pathlib.Path]) -> tuple[str, dict[str, Any]]:
    """Return (root, options): the masks are in a download of their own."""
    return str(folders['videos']), {'ground_truth': str(folders['labels'])}
