"""Your own videos.

They lie in ROOT/training/ and ROOT/testing/; ROOT/labels.csv is optional.

    python -m a3dcae_jax.main --config=configs/video_folder.py:small --config.data.root=ROOT

To train on the first 70 % of a single video and test on the rest:
`--config.data.root=FILE.avi --config.data.options.train_fraction=0.7`.
Labels elsewhere: `--config.data.options.labels=FILE`, with rows `video,start,end`.
"""

from ml_collections import ConfigDict

from a3dcae_jax.config import make_config


def get_config(variants: str = 'paper') -> ConfigDict:
  """Return the config of this data set with the variants."""
  options = {'labels': '', 'train_fraction': 0.0}
  return make_config('video_folder', variants, options=options)
