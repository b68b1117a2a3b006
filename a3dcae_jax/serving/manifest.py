"""`detector.json`: the description of a bundle, with the SHA-256 of each file."""

import hashlib
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import object_digest, read_object
from a3dcae_jax.serving.object_statistics import MEASUREMENTS

FORMAT = 'a3dcae_jax detector bundle'
FORMAT_VERSION = 3
FRAMES = 'frames'  # kinds of bundles
OBJECTS = 'objects'
NAME = 'detector.json'
_NUMBER = (int, float)
_FIELDS = {  # what readers rely on, beside format, format_version, sha256 and kind
  'loads_with': {'jax_at_least': str},
  'files': dict,
  'input': {'window_frames': int, 'height_px': int, 'width_px': int, 'models': dict},
  'calibration': {
    'mean': _NUMBER,
    'std': _NUMBER,
    'threshold': _NUMBER,
    'smoothing_frames': _NUMBER,
    'smoothing_mode': str,
  },
}
_FIELDS_OF_KIND = {
  FRAMES: {
    'input': {'frame_stride': int},
    'calibration': {'step_frames': int, 'per_position': bool, 'position_mean': list},
  },
  OBJECTS: {
    'calibration': {'step_frames': int, 'weights': dict.fromkeys(MEASUREMENTS, _NUMBER)},
  },
}
PROMISE = (
  f'Format version {FORMAT_VERSION} is read by each version of a3dcae_jax that has it. '
  'The model files load with the jax that wrote them and with later ones, never with an earlier '
  'one. The JAX project promises that for six months; in practice it has been longer. '
  'Export the run again after that.'
)


def seal(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
  """Return the manifest with the SHA-256 of `files` and, last, of itself."""
  listed = {}
  for name, content in files.items():
    listed[name] = {'bytes': len(content), 'sha256': _sha256(content)}
  sealed = {'format': FORMAT, 'format_version': FORMAT_VERSION, **manifest, 'files': listed}
  return sealed | {'sha256': object_digest(sealed)}


def read_manifest(folder: pathlib.Path | str) -> dict[str, Any]:
  """Read and check `detector.json`.

  Raises:
    UserError: if it is missing, changed, of another format, version or kind, or written by a later
      jax.
  """
  path = pathlib.Path(folder) / NAME
  if not path.exists():
    raise UserError(
      f'{folder} is not a bundle: it has no {NAME}; `python -m a3dcae_jax.export` writes one'
    )
  manifest = read_object(path)
  if manifest.get('format') != FORMAT:
    raise UserError(f'{path}: format is not {FORMAT!r}')
  version = manifest.get('format_version')
  if version != FORMAT_VERSION:
    raise UserError(
      f'{path}: format_version is {version!r}, this a3dcae_jax reads {FORMAT_VERSION}; '
      'export the run again'
    )
  if manifest.get('sha256') != object_digest(manifest):
    raise UserError(
      f'{path}: changed since it was written (its SHA-256 differs); export the run again'
    )
  if manifest.get('kind') not in (FRAMES, OBJECTS):
    raise UserError(
      f'{path}: kind is {manifest.get("kind")!r}, this a3dcae_jax knows {FRAMES!r} and {OBJECTS!r}'
    )
  _check_fields(manifest, _FIELDS, str(path))
  _check_fields(manifest, _FIELDS_OF_KIND[manifest['kind']], str(path))
  needed = manifest['loads_with']['jax_at_least']
  if version_key(jax.__version__) < version_key(needed):
    raise UserError(
      f'{path}: written by jax {needed}, this is jax {jax.__version__}; '
      f'model files do not load with earlier versions: pip install "jax>={needed}"'
    )
  return manifest


def read_files(folder: pathlib.Path | str, manifest: Mapping[str, Any]) -> dict[str, bytes]:
  """Return the content of each file that the manifest lists, by its name.

  Raises:
    UserError: naming the first file that is missing, cut off or changed.
  """
  files = {}
  for name, expected in manifest['files'].items():
    path = pathlib.Path(folder) / name
    _check_fields({name: expected}, {name: {'bytes': int, 'sha256': str}}, f'{folder}/{NAME}')
    if pathlib.PurePath(name).name != name:
      raise UserError(f'{folder}/{NAME}: file {name!r} is not in the folder of the bundle')
    try:
      content = path.read_bytes()
    except OSError as error:
      raise UserError(
        f'{path} cannot be read ({error.strerror}): the bundle is not complete'
      ) from None
    if len(content) != expected['bytes']:
      raise UserError(
        f'{path} has {len(content)} bytes, {NAME} says {expected["bytes"]}: the bundle is damaged'
      )
    if _sha256(content) != expected['sha256']:
      raise UserError(f'{path}: SHA-256 differs from the one in {NAME}: the bundle is damaged')
    files[name] = content
  return files


def check_listed(folder: pathlib.Path, files: Mapping[str, bytes], names: Iterable[Any]) -> None:
  """Check that the manifest lists the files that a bundle of this kind needs.

  Raises:
    UserError: naming the first that it does not.
  """
  for name in names:
    if not isinstance(name, str) or name not in files:
      raise UserError(f'{folder / NAME} lists no file {name!r}: the bundle is not complete')


def version_key(version: str) -> tuple[int, ...]:
  """Return the leading numbers of a version: '0.10.2.dev3' -> (0, 10, 2).

  A version without numbers gives ().
  """
  numbers = re.match(r'\d{1,9}(?:\.\d{1,9})*', version)
  return tuple(int(part) for part in numbers.group().split('.')) if numbers else ()


def _check_fields(values: Mapping[str, Any], kinds: Mapping[str, Any], source: str) -> None:
  """Check that all fields are present and have their types.

  In `kinds`, a dict stands for an object with these fields.

  Raises:
    UserError: naming the first field that is missing or of another type.
  """
  for name, kind in kinds.items():
    is_object = isinstance(kind, dict)
    value = values.get(name)
    if not isinstance(value, dict if is_object else kind):
      raise UserError(f'{source}: {name} is missing or of a wrong type; export the run again')
    if is_object:
      _check_fields(value, kind, f'{source}: {name}')


def _sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()
