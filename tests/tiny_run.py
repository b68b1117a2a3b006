"""The settings of a run that tests can afford: two tiny synthetic videos per split."""

import pathlib
from typing import Any

from a3dcae_jax.config import checked, fields, make_config


def tiny(folder: pathlib.Path, **changes: Any) -> fields.Config:
  """Return tiny settings with frame caches under `folder` and some fields changed."""
  options = {'num_videos': 2, 'frames_per_video': 40}
  values = {'data.root': '', 'data.cache_dir': str(folder / 'caches')}
  config = make_config('synthetic', 'tiny', options=options, values=values)
  config.update_from_flattened_dict(changes)
  return checked(config)
