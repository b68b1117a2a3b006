"""`detector.json`: what a bundle is, the SHA-256 of its every file and of itself, and which versions load it."""

import hashlib
import json
import pathlib
import re

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json

FORMAT = 'a3dcae_jax detector bundle'
FORMAT_VERSION = 1
NAME = 'detector.json'
PROMISE = (
  f'Format version {FORMAT_VERSION} is read by every a3dcae_jax that has it. The model files load with the jax that wrote them and with '
  'later ones, never with an earlier one; the JAX project promises six months of that, in practice it has been more. Export again after.'
)


def seal(manifest, files):
  """The manifest with the size and SHA-256 of `files` (name -> bytes) and, last, its own digest."""
  listed = {
    name: {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
    for name, content in files.items()
  }
  sealed = {'format': FORMAT, 'format_version': FORMAT_VERSION, **manifest, 'files': listed}
  return sealed | {'sha256': digest(sealed)}


def digest(manifest):
  """SHA-256 of a manifest without its field `sha256`, keys sorted: independent of spaces and order."""
  rest = {key: value for key, value in manifest.items() if key != 'sha256'}
  return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_manifest(folder):
  """Reads and checks `detector.json`: there, of this format and version, unchanged, not from a later jax.

  Raises: UserError naming what does not fit.
  """
  path = pathlib.Path(folder) / NAME
  if not path.exists():
    raise UserError(
      f'{folder} is no bundle: it has no {NAME}; `python -m a3dcae_jax.export` writes one'
    )
  manifest = read_json(path)
  if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
    raise UserError(f'{path}: format is not {FORMAT!r}')
  if manifest.get('format_version') != FORMAT_VERSION:
    raise UserError(
      f'{path}: format_version is {manifest.get("format_version")!r}, this a3dcae_jax reads {FORMAT_VERSION}; export the run again'
    )
  if manifest.get('sha256') != digest(manifest):
    raise UserError(
      f'{path}: changed since it was written (its SHA-256 differs); export the run again'
    )
  needed = manifest['loads_with']['jax_at_least']
  if version_key(jax.__version__) < version_key(needed):
    raise UserError(
      f'{path}: written by jax {needed}, this is jax {jax.__version__}; model files load forward only: pip install "jax>={needed}"'
    )
  return manifest


def read_files(folder, manifest):
  """name -> bytes of every file that the manifest lists.

  Raises: UserError naming the first file that is missing, cut off or changed.
  """
  files = {}
  for name, expected in manifest['files'].items():
    path = pathlib.Path(folder) / name
    try:
      content = path.read_bytes()
    except OSError as error:
      raise UserError(
        f'{path} cannot be read ({error.strerror}): the bundle is not whole'
      ) from None
    if len(content) != expected['bytes']:
      raise UserError(
        f'{path} has {len(content)} bytes, {NAME} says {expected["bytes"]}: the bundle is damaged'
      )
    if hashlib.sha256(content).hexdigest() != expected['sha256']:
      raise UserError(f'{path}: SHA-256 differs from the one in {NAME}: the bundle is damaged')
    files[name] = content
  return files


def version_key(version):
  """'0.12.0.1' -> (0, 12, 0, 1): leading numbers, so that '0.10.2.dev3' counts as 0.10.2."""
  return tuple(int(part) for part in re.match(r'\d+(?:\.\d+)*', version).group().split('.'))
