"""Settings of a run for tests: two tiny synthetic videos per split."""

import pathlib
from typing import Any

from a3dcae_jax.config import checked, fields, make_config


def tiny(folder: pathlib.Path, **changes: Any) -> fields.Config:
  """Return tiny settings with frame caches under `folder` and some fields changed."""
  options = {'num_videos': 2, 'frames_per_video': 40}
  values = {
    'data.root': '',
    'data.cache_dir': str(folder / 'caches'),
    # The smallest network with every kind of layer; deeper ones only take longer to compile.
    'model.widths': (4, 4, 6),
    'model.discriminator_widths': (2, 2),
  }
  config = make_config('synthetic', 'tiny', options=options)
  config.update_from_flattened_dict(values | changes)
  return checked(config)
