"""CUHK Avenue: an avenue on a campus.

Running, throwing and walking in the wrong direction are abnormal.

    python -m a3dcae_jax.main --config=configs/avenue.py

Label sets: vollabel (the default; the authors' masks) and hasan, whose file you give:
`--config.data.label_set=hasan --config.data.options.hasan_labels=FILE`.
They differ on 441 of 15,324 frames.
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  return make_config('avenue', variants, options={'hasan_labels': ''})
