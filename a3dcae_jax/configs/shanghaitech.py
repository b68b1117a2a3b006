"""ShanghaiTech Campus: 13 cameras.

Bicycles, chases and fights, among others, are abnormal.

    python -m a3dcae_jax.main --config=configs/shanghaitech.py
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('shanghaitech', variants)
