"""Archives of the sets that are public: fetched, compared with their published SHA-256, unpacked. No TensorFlow.

Each builder's `checksums.tsv` (tfds's own format: URL, size in bytes, SHA-256, file name) is the one list of what is fetched.
"""

import hashlib
import pathlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from typing import NamedTuple

import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir

_BLOCK_BYTES = 2**20
_TIMEOUT_S = 60


class Archive(NamedTuple):
  """One file to fetch."""

  url: str
  size: int
  sha256: str
  filename: str


def archives(name):
  """The archives of a data set, from its `checksums.tsv`; empty where it cannot be fetched."""
  path = pathlib.Path(__file__).parent / 'builders' / name / 'checksums.tsv'
  rows = [
    line.split('\t')
    for line in path.read_text(encoding='utf-8').splitlines()
    if line and not line.startswith('#')
  ]
  return [Archive(url, int(size), sha256, filename) for url, size, sha256, filename in rows]


def fetch(name, root, *, listed=None):
  """Fetches and unpacks a set's archives into `root`, whole or not at all. A folder that holds anything is left as it is.

  Args: name: of the builder. root: folder. listed: `Archive`s, default those of the set.

  Returns: True if it was fetched, False if there was something in `root` already.
  Raises: UserError for a set that is not public, a failed download, or a file that is not the published one.
  """
  root, listed = pathlib.Path(root), archives(name) if listed is None else listed
  if not listed:
    raise UserError(
      f'{name} cannot be fetched: a3dcae_jax/data/builders/{name}/README.md says where to get it'
    )
  if root.exists() and (not root.is_dir() or any(root.iterdir())):
    return False
  with atomic_dir(root) as temporary:
    for archive in listed:
      path = temporary / archive.filename
      _download(archive, path)
      _unpack(path, temporary)
      path.unlink()
  return True


def _download(archive, path):
  digest, size = hashlib.sha256(), 0
  try:
    with (
      urllib.request.urlopen(archive.url, timeout=_TIMEOUT_S) as source,
      open(path, 'wb') as target,
      tqdm.tqdm(
        desc=f'fetch {archive.filename}',
        total=archive.size,
        unit='B',
        unit_scale=True,
        dynamic_ncols=True,
      ) as bar,
    ):
      while block := source.read(_BLOCK_BYTES):
        target.write(block)
        digest.update(block)
        size += len(block)
        bar.update(len(block))
  except (urllib.error.URLError, OSError) as error:
    raise UserError(f'{archive.url} cannot be fetched: {getattr(error, "reason", error)}') from None
  if (size, digest.hexdigest()) != (archive.size, archive.sha256):
    raise UserError(
      f'{archive.url}: got {size} bytes with SHA-256 {digest.hexdigest()}, published are {archive.size} bytes with {archive.sha256}; '
      'nothing was kept'
    )


def _unpack(path, folder):
  """Members that would leave `folder` are refused by both libraries."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    else:
      with tarfile.open(path) as archive:
        archive.extractall(folder, filter='data')
  except (tarfile.TarError, zipfile.BadZipFile, shutil.ReadError) as error:
    raise UserError(f'{path.name} cannot be unpacked: {error}') from None
