"""NWPU Campus: 43 cameras.

Some events are abnormal at certain cameras only.

    python -m a3dcae_jax.main --config=configs/nwpu_campus.py

`--config.data.mean_image=scene` takes one mean image per camera.
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('nwpu_campus', variants)
