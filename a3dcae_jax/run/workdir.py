"""The config of a run and the provenance of its results, in its folder."""

import dataclasses
import json
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable, object_digest, read_object, write_json
from a3dcae_jax.config import checked, fields

CONFIG = 'config.json'
PROVENANCE = 'provenance.json'

# Fields that may differ when a run is resumed, because they do not change what is trained. They say
# where data lies, how long and how often something is done, and how the result is scored.
_NEVER_MATTERS = (
  'variant',
  'data.root',
  'data.cache',
  'data.cache_dir',
  'model.remat',
  'train.time_limit_s',
  'train.log_every_steps',
  'train.checkpoint_every_steps',
  'train.keep_checkpoints',
  'train.input_pipeline',
)
_MAY_CHANGE = (*_NEVER_MATTERS, 'data.label_set')
_MAY_CHANGE_BELOW = ('eval.', 'events.')
_PACKAGES = (
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


def to_json(settings: fields.Config) -> dict[str, Any]:
  """Return settings as JSON values: dicts, lists, numbers, strings."""
  return json.loads(json.dumps(_plain(settings)))


def init_or_check_workdir(workdir: pathlib.Path, settings: fields.Config) -> None:
  """Write `config.json` into a new folder, or check the config of an existing one.

  `config.json` is never rewritten once there is a checkpoint. A run that failed before its first
  one has trained nothing, so its folder may be used with another config.

  Raises:
    UserError: if fields differ that must not; all of them are named.
  """
  if not has_checkpoint(workdir):
    write_json(pathlib.Path(workdir) / CONFIG, to_json(settings))
    return
  different = differences(read_config(workdir), settings)
  if different:
    raise UserError(
      f'{workdir} belongs to another config: {"; ".join(different)}. Choose another --workdir'
    )


def differences(before: fields.Config, now: fields.Config) -> list[str]:
  """Return the fields in which two configs train different networks, in words."""
  there = _flat(to_json(before))
  here = _flat(to_json(now))
  different = []
  for key in sorted(there.keys() | here.keys()):
    if there.get(key) != here.get(key) and not _may_change(key, now):
      different.append(f'{key} is {there.get(key)!r} there, {here.get(key)!r} here')
  return different


def result_digest(settings: fields.Config) -> str:
  """Return a SHA-256 of all fields on which the results of a run depend."""
  values = _flat(to_json(settings))
  kept = {key: value for key, value in values.items() if key not in _NEVER_MATTERS}
  return object_digest(kept)


def has_checkpoint(workdir: pathlib.Path) -> bool:
  """Return whether a run has saved a checkpoint, whole or not."""
  return newest_update(workdir) is not None


def newest_update(workdir: pathlib.Path) -> int | None:
  """Return the update of the newest checkpoint, whole or not, or None."""
  folder = pathlib.Path(workdir) / 'checkpoints'
  if not folder.is_dir():
    return None
  return max(
    (int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()), default=None
  )


def read_config(workdir: pathlib.Path) -> fields.Config:
  """Return the config that a run was made with."""
  path = pathlib.Path(workdir) / CONFIG
  if not path.exists():
    raise UserError(f'{workdir} is not a run: it has no {CONFIG}')
  content = read_object(path)
  if 'sum' in content:
    runs = ', '.join(content['sum'])
    raise UserError(
      f'{workdir} is not a run but the sum of {runs}: score it again with evaluate --sum'
    )
  try:
    return checked(content)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None


def check_takes_results(workdir: pathlib.Path, results: str) -> None:
  """Check that a folder for results can be written and is not a training run.

  Args:
    workdir: folder for the results.
    results: their name in the message, such as 'the sum'.

  Raises:
    UserError: if it cannot be written, or the results would overwrite those of a training run.
  """
  check_writable(workdir, '--workdir')
  if (pathlib.Path(workdir) / 'checkpoints').exists():
    raise UserError(
      f'--workdir={workdir} is a training run, whose results would be overwritten: '
      f'name another folder for the results of {results}'
    )


def read_provenance(workdir: pathlib.Path) -> dict[str, Any]:
  """Return what `provenance` gave when the run was trained.

  Raises:
    UserError: if the file is missing or damaged.
  """
  path = pathlib.Path(workdir) / PROVENANCE
  try:
    content = read_object(path)
    if 'data_sha256' not in content:
      raise UserError(f'{path} has no data_sha256')
  except UserError as error:
    raise UserError(f'{error}; main with the config of the run writes it anew') from None
  return content


def provenance(data_sha256: str) -> dict[str, Any]:
  """Return versions, devices, commit and data, on which figures depend."""
  devices = jax.devices()
  return {
    'python': platform.python_version(),
    'machine': platform.machine(),
    'versions': {name: _version(name) for name in _PACKAGES},
    'devices': {
      'platform': devices[0].platform,
      'kind': devices[0].device_kind,
      'count': len(devices),
      'processes': jax.process_count(),
    },
    'commit': _commit(),
    'data_sha256': data_sha256,
  }


def _may_change(key: str, settings: fields.Config) -> bool:
  if key == 'train.steps':  # a schedule depends on the number of updates
    return settings.optimizer.schedule == 'constant'
  is_label_file = key.startswith('data.options.') and key.endswith('labels')
  return key in _MAY_CHANGE or key.startswith(_MAY_CHANGE_BELOW) or is_label_file


def _plain(value: Any) -> Any:
  """Turn dataclasses and mappings into dicts, and tuples into lists."""
  if dataclasses.is_dataclass(value):
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
  if hasattr(value, 'items'):
    return {name: _plain(entry) for name, entry in value.items()}
  if isinstance(value, (tuple, list)):
    return [_plain(entry) for entry in value]
  return value


def _flat(tree: Any, prefix: str = '') -> dict[str, Any]:
  if not isinstance(tree, dict):
    return {prefix[:-1]: tree}
  flat = {}
  for key, value in tree.items():
    flat |= _flat(value, f'{prefix}{key}.')
  return flat


def _version(name: str) -> str | None:
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _commit() -> str | None:
  """Return the commit of the clone that holds the package; None without a clone."""
  command = ['git', 'describe', '--always', '--dirty', '--abbrev=12']
  folder = pathlib.Path(__file__).parent
  try:
    result = subprocess.run(
      command, cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return result.stdout.strip()
