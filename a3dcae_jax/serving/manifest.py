"""`detector.json`: the description of a bundle, with the SHA-256 of each file."""

import hashlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import object_digest, read_object

FORMAT = 'a3dcae_jax detector bundle'
FORMAT_VERSION = 3
FRAMES = 'frames'  # kinds of bundles
OBJECTS = 'objects'
NAME = 'detector.json'
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


def version_key(version: str) -> tuple[int, ...]:
  """Return the leading numbers of a version: '0.10.2.dev3' -> (0, 10, 2)."""
  numbers = re.match(r'\d+(?:\.\d+)*', version).group()
  return tuple(int(part) for part in numbers.split('.'))


def _sha256(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()
