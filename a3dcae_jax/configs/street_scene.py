"""Street Scene: a two-lane street seen from above.

Jaywalking, illegal turns and cars outside their lane, among others, are abnormal.

    python -m a3dcae_jax.main --config=configs/street_scene.py
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('street_scene', variants, values={'events.frames_per_s': 15.0})
