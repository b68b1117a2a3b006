"""Fetching a public set: from file:// addresses, so without a network; checksums decide, and what is there already is left alone."""

import hashlib
import importlib
import tarfile
import zipfile

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import NAMES, check_root
from a3dcae_jax.data.download import Archive, archives, fetch


@pytest.fixture
def listed(tmp_path):
  """A zip and a tar.gz with a file each, and their true checksums."""
  (tmp_path / 'a.txt').write_text('videos')
  with zipfile.ZipFile(tmp_path / 'one.zip', 'w') as archive:
    archive.write(tmp_path / 'a.txt', 'training_videos/a.txt')
  with tarfile.open(tmp_path / 'two.tar.gz', 'w:gz') as archive:
    archive.add(tmp_path / 'a.txt', 'labels/b.txt')
  return [archive_of(tmp_path / name) for name in ('one.zip', 'two.tar.gz')]


def archive_of(path):
  return Archive(
    path.as_uri(), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), path.name
  )


def test_archives_are_unpacked_and_not_kept(tmp_path, listed):
  assert fetch('avenue', tmp_path / 'avenue', listed=listed)
  assert sorted(
    str(path.relative_to(tmp_path / 'avenue'))
    for path in (tmp_path / 'avenue').rglob('*')
    if path.is_file()
  ) == ['labels/b.txt', 'training_videos/a.txt']


def test_what_is_there_is_left_alone(tmp_path, listed):
  (tmp_path / 'avenue').mkdir()
  (tmp_path / 'avenue' / 'mine').write_text('')
  assert not fetch('avenue', tmp_path / 'avenue', listed=listed)
  assert [path.name for path in (tmp_path / 'avenue').iterdir()] == ['mine']


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'sha256': '0' * 64}, 'published are .* with 0000'),
    ({'size': 3}, 'published are 3 bytes'),
    ({'url': 'file:///no/such/file.zip'}, 'cannot be fetched'),
  ],
)
def test_a_file_that_is_not_the_published_one_leaves_nothing(tmp_path, listed, wrong, message):
  with pytest.raises(UserError, match=message):
    fetch('avenue', tmp_path / 'avenue', listed=[listed[0], listed[1]._replace(**wrong)])
  assert not (tmp_path / 'avenue').exists() and not list(tmp_path.glob('.avenue*'))


def test_what_is_no_archive_is_named(tmp_path):
  (tmp_path / 'page.zip').write_text('<html>moved</html>')
  with pytest.raises(UserError, match='page.zip cannot be unpacked'):
    fetch('avenue', tmp_path / 'avenue', listed=[archive_of(tmp_path / 'page.zip')])


def test_a_set_that_is_not_public_says_where_to_look(tmp_path):
  with pytest.raises(
    UserError, match=r'subway_exit cannot be fetched: .*builders/subway_exit/README.md'
  ):
    fetch('subway_exit', tmp_path / 'x')
  with pytest.raises(UserError, match='data.root is empty: .*README.md says where to get it$'):
    check_root('shanghaitech', '')
  with pytest.raises(UserError, match='data.root is empty: .*--download'):
    check_root('avenue', '')


def test_every_checksum_is_well_formed():
  public = {name: archives(name) for name in NAMES if archives(name)}
  assert set(public) == {'ucsd_ped1', 'ucsd_ped2', 'avenue'}
  for archive in (archive for listed in public.values() for archive in listed):
    assert (
      archive.url.endswith(archive.filename)
      and archive.size > 0
      and len(bytes.fromhex(archive.sha256)) == 32
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_tfds_reads_the_same_checksums(name):
  from tensorflow_datasets.core.download import checksums

  module = importlib.import_module(f'a3dcae_jax.data.builders.{name}.{name}_dataset_builder')
  builder = next(
    value
    for value in vars(module).values()
    if isinstance(value, type) and getattr(value, 'name', None) == name
  )
  folder = importlib.import_module(f'a3dcae_jax.data.builders.{name}').__path__[0]
  infos = checksums.load_url_infos(f'{folder}/checksums.tsv')
  assert {url: (int(info.size), info.checksum) for url, info in infos.items()} == {
    a.url: (a.size, a.sha256) for a in archives(name)
  }
  assert set(builder.DOWNLOADS.values()) == set(infos) and builder.url_infos.keys() == infos.keys()
  assert (
    bool(builder.DOWNLOADS) or name == 'synthetic' or len(builder.MANUAL_DOWNLOAD_INSTRUCTIONS) > 20
  )
