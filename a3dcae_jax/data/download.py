"""Download of the public data sets, compared with their published SHA-256.

The `checksums.tsv` of each builder lists the files, in tfds's own format: URL, size in bytes,
SHA-256, file name. TensorFlow is not needed.
"""

import hashlib
import pathlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir
from a3dcae_jax.common.locks import exclusive

_BLOCK_BYTES = 2**20
_TIMEOUT_S = 60


class Archive(NamedTuple):
  """A file to download.

  Attributes:
    url: its address.
    size: in bytes.
    sha256: in hexadecimal digits.
    filename: its name on disk.
  """

  url: str
  size: int
  sha256: str
  filename: str


def archives(name: str) -> list[Archive]:
  """Return the archives of a data set; an empty list if it is not public."""
  path = pathlib.Path(__file__).parent / 'builders' / name / 'checksums.tsv'
  listed = []
  for line in path.read_text(encoding='utf-8').splitlines():
    if line and not line.startswith('#'):
      url, size, sha256, filename = line.split('\t')
      listed.append(Archive(url, int(size), sha256, filename))
  return listed


def fetch(name: str, root: str | pathlib.Path, *, listed: Sequence[Archive] | None = None) -> bool:
  """Download and unpack the archives of a data set, all of them or none.

  Args:
    name: name of the data set.
    root: the folder. If it has any content, nothing is done.
    listed: the archives, by default those of the data set.

  Returns:
    Whether the set was downloaded.

  Raises:
    UserError: if the set is not public, a download fails, or a file is not the published one.
  """
  root = pathlib.Path(root)
  if listed is None:
    listed = archives(name)
  if not listed:
    raise UserError(
      f'{name} cannot be fetched; the documentation says under Data sets where to get it'
    )
  if _has_content(root):
    return False
  with exclusive(root.absolute().with_name(f'.{root.name}.lock'), f'fetches {name}'):
    if _has_content(root):  # by now
      return False
    with atomic_dir(root) as temporary:
      for archive in listed:
        path = temporary / archive.filename
        _download(archive, path)
        _unpack(path, temporary)
        path.unlink()
  return True


def _has_content(root: pathlib.Path) -> bool:
  return root.exists() and (not root.is_dir() or any(root.iterdir()))


def _download(archive: Archive, path: pathlib.Path) -> None:
  """Download an archive and compare its size and SHA-256 with the published ones."""
  digest = hashlib.sha256()
  size = 0
  try:
    source = urllib.request.urlopen(archive.url, timeout=_TIMEOUT_S)
    with source, open(path, 'wb') as target, _progress_bar(archive) as bar:
      while block := source.read(_BLOCK_BYTES):
        target.write(block)
        digest.update(block)
        size += len(block)
        bar.update(len(block))
  except (urllib.error.URLError, OSError) as error:
    raise UserError(f'{archive.url} cannot be fetched: {getattr(error, "reason", error)}') from None
  if (size, digest.hexdigest()) != (archive.size, archive.sha256):
    raise UserError(
      f'{archive.url}: got {size} bytes with SHA-256 {digest.hexdigest()}, '
      f'published are {archive.size} bytes with {archive.sha256}; nothing was kept'
    )


def _progress_bar(archive: Archive) -> tqdm.tqdm:
  return tqdm.tqdm(
    desc=f'fetch {archive.filename}',
    total=archive.size,
    unit='B',
    unit_scale=True,
    dynamic_ncols=True,
  )


def _unpack(path: pathlib.Path, folder: pathlib.Path) -> None:
  """Unpack an archive. Both libraries refuse members that would leave `folder`."""
  try:
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    else:
      with tarfile.open(path) as archive:
        archive.extractall(folder, filter='data')
  except (tarfile.TarError, zipfile.BadZipFile, shutil.ReadError) as error:
    raise UserError(f'{path.name} cannot be unpacked: {error}') from None
