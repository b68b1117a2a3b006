"""Synthetic videos, drawn from a seed: no download, a few minutes on a CPU.

python -m a3dcae_jax.main --config=configs/synthetic.py
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'quick') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('synthetic', variants, values={'data.root': ''})
