"""UBnormal: rendered people and vehicles in 29 scenes.

Running, falling, fighting, accidents and fire, among others, are abnormal.

    python -m a3dcae_jax.main --config=configs/ubnormal.py

Trained on the normal videos of its training split.
`--config.data.mean_image=scene` takes one mean image per scene.
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('ubnormal', variants, values={'events.frames_per_s': 30.0})
