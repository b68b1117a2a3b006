"""UCSD Ped1: a walkway seen from its end.

Cyclists, skaters and carts are abnormal.

    python -m a3dcae_jax.main --config=configs/ucsd_ped1.py
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('ucsd_ped1', variants, values={'events.frames_per_s': 10.0})
