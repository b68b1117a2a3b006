"""The config of a run that tests can afford: two tiny synthetic videos a split."""

from configs import synthetic


def tiny(folder, **changes):
  """The locked tiny config with frame caches under `folder`, some of its fields changed."""
  config = synthetic.get_config('tiny')
  config.unlock()
  config.data.cache_dir = str(folder / 'caches')
  config.data.options = {'num_videos': 2, 'frames_per_video': 40}
  config.update_from_flattened_dict(changes)
  return config.lock()
