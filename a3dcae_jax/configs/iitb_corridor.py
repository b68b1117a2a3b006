"""IITB Corridor: a corridor seen by one camera.

Protest, chasing, loitering and cycling, among others, are abnormal.

    python -m a3dcae_jax.main --config=configs/iitb_corridor.py
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('iitb_corridor', variants)
