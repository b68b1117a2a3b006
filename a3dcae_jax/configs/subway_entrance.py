"""Subway entrance: one long video.

Wrong direction, no payment and loitering are abnormal.

    python -m a3dcae_jax.main --config=configs/subway_entrance.py

There is no single public ground truth. Give yours as `--config.data.options.labels=FILE`
(.csv, .json or .txt).
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  options = {'train_frames': 76453, 'test_start': 76453, 'labels': ''}
  return make_config('subway_entrance', variants, options=options)
