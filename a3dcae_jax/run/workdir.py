"""A run's folder: which config it belongs to, and where its results came from."""

import json
import pathlib
import platform
import subprocess
from importlib import metadata

import jax
from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.evaluation.perspective import FOUND

# Fields that may differ when a run goes on: how long, how often, and how it is scored; not what is trained.
MAY_CHANGE = (
  'variant',
  'data.root',
  'data.cache',
  'data.cache_dir',
  'data.label_set',
  'data.options.hasan_labels',
  'train.steps',
  'train.time_limit_s',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
  'train.keep_checkpoints',
  'train.input_pipeline',
  'train.reduce_dtype',
  'train.transfer_guard',
  'train.compilation_cache_dir',
  'model.remat',
  'eval.',
)
# Fields that came later, with what they say of a run from before: it goes on as it began.
CAME_LATER = {
  'data.mean_image': 'set',
  'optimizer.schedule': 'constant',
  'model.output_gain': 1.0,
  'model.bn_scale_init': 1.0,
  'frames.target_rms': 0.0,
  'frames.images': 'frames',
  'input.perspective': 'alike',
}
PACKAGES = (
  'a3dcae_jax',
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'numpy',
  'scikit-learn',
  'tensorflow-cpu',
  'tensorflow-datasets',
)


def plain(config):
  """A ConfigDict as what JSON gives back: dicts, lists, numbers, strings."""
  return json.loads(config.to_json())


def claim(workdir, config):
  """Makes `workdir` this config's, or checks that it is.

  Raises: UserError naming every field that differs from the config that `workdir` was made with.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if path.exists():
    before, now = CAME_LATER | _flat(read_json(path)), _flat(plain(config))
    different = [
      f'{key} is {before.get(key)!r} there, {now.get(key)!r} here'
      for key in sorted(before.keys() | now.keys())
      if before.get(key) != now.get(key) and not key.startswith(MAY_CHANGE)
    ]
    if different:
      raise UserError(
        f'{workdir} belongs to another config: {"; ".join(different)}. Choose another --workdir'
      )
  write_json(path, plain(config))


def kept_row_speeds(workdir):
  """`input.perspective` of the run that `workdir` holds, or `FOUND` where it holds none: what was found when a run began stays."""
  path = pathlib.Path(workdir) / 'config.json'
  return (CAME_LATER | _flat(read_json(path)))['input.perspective'] if path.exists() else FOUND


def provenance(cache):
  """Versions, devices, commit and the data's hash: what a figure depends on beside its config."""
  devices = jax.devices()
  return {
    'python': platform.python_version(),
    'machine': platform.machine(),
    'versions': {name: _version(name) for name in PACKAGES},
    'devices': {
      'platform': devices[0].platform,
      'kind': devices[0].device_kind,
      'count': len(devices),
      'processes': jax.process_count(),
    },
    'commit': _commit(),
    'data_sha256': cache.data_hash,
  }


def check_is_no_run(workdir, whose):
  """Raises `UserError` where results that are not a training run's, but `whose` ("the sum's"), would overwrite one's."""
  if (pathlib.Path(workdir) / 'checkpoints').exists():
    raise UserError(
      f'--workdir={workdir} is a training run, whose results would be overwritten: name a folder of its own for {whose}'
    )


def read_config(workdir):
  """The locked config that `workdir` was made with."""
  path = pathlib.Path(workdir) / 'config.json'
  if not path.exists():
    raise UserError(f'{workdir} is no run: it has no config.json')
  content = read_json(path)
  if 'sum' in content:
    raise UserError(
      f'{workdir} is no run but the sum of {", ".join(content["sum"])}: score it again by evaluate --sum'
    )
  return config_dict.ConfigDict(tuples(content)).lock()


def tuples(tree):
  """Lists back to tuples, which is what configs hold."""
  if isinstance(tree, dict):
    return {key: tuples(value) for key, value in tree.items()}
  return tuple(tree) if isinstance(tree, list) else tree


def _flat(tree, prefix=''):
  if not isinstance(tree, dict):
    return {prefix[:-1]: tree}
  flat = {}
  for key, value in tree.items():
    flat |= _flat(value, f'{prefix}{key}.')
  return flat


def _version(name):
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _commit():
  here = pathlib.Path(__file__).parent
  try:
    command = ['git', 'describe', '--always', '--dirty', '--abbrev=12']
    result = subprocess.run(
      command, cwd=here, capture_output=True, text=True, timeout=10, check=True
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return result.stdout.strip()
