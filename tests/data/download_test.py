"""Downloads from file:// addresses: checksums are compared, existing files kept."""

import hashlib
import importlib
import tarfile
import zipfile

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import NAMES, check_root
from a3dcae_jax.data.download import Archive, archives, fetch

PUBLIC = ('ucsd_ped1', 'ucsd_ped2', 'avenue')


def archive_of(path):
  content = path.read_bytes()
  sha256 = hashlib.sha256(content).hexdigest()
  return Archive(path.as_uri(), len(content), sha256, path.name)


@pytest.fixture
def listed(tmp_path):
  """A zip and a tar.gz archive with one file each."""
  (tmp_path / 'a.txt').write_text('videos')
  with zipfile.ZipFile(tmp_path / 'one.zip', 'w') as archive:
    archive.write(tmp_path / 'a.txt', 'training_videos/a.txt')
  with tarfile.open(tmp_path / 'two.tar.gz', 'w:gz') as archive:
    archive.add(tmp_path / 'a.txt', 'labels/b.txt')
  return [archive_of(tmp_path / name) for name in ('one.zip', 'two.tar.gz')]


def test_archives_are_unpacked_and_not_kept(tmp_path, listed):
  root = tmp_path / 'avenue'
  assert fetch('avenue', root, listed=listed)
  files = [path for path in root.rglob('*') if path.is_file()]
  names = sorted(str(path.relative_to(root)) for path in files)
  assert names == ['labels/b.txt', 'training_videos/a.txt']


def test_a_folder_with_content_is_kept(tmp_path, listed):
  root = tmp_path / 'avenue'
  root.mkdir()
  (root / 'mine').write_text('')
  assert not fetch('avenue', root, listed=listed)
  assert list(root.iterdir()) == [root / 'mine']


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'sha256': '0' * 64}, 'published are .* with 0000'),
    ({'size': 3}, 'published are 3 bytes'),
    ({'url': 'file:///no/such/file.zip'}, 'cannot be fetched'),
  ],
)
def test_a_file_unlike_the_published_one_leaves_nothing(tmp_path, listed, changes, message):
  wrong = [listed[0], listed[1]._replace(**changes)]
  with pytest.raises(UserError, match=message):
    fetch('avenue', tmp_path / 'avenue', listed=wrong)
  assert not (tmp_path / 'avenue').exists()
  assert not list(tmp_path.glob('.avenue*'))


def test_files_that_are_not_archives_are_named(tmp_path):
  (tmp_path / 'page.zip').write_text('<html>moved</html>')
  with pytest.raises(UserError, match='page.zip cannot be unpacked'):
    fetch('avenue', tmp_path / 'avenue', listed=[archive_of(tmp_path / 'page.zip')])


def test_a_set_that_is_not_public_is_not_downloaded(tmp_path):
  with pytest.raises(UserError, match='subway_exit cannot be fetched; the documentation says'):
    fetch('subway_exit', tmp_path / 'x')


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'synthetic'])
def test_the_error_for_a_missing_folder_tells_how_to_get_the_set(name):
  with pytest.raises(UserError) as error:
    check_root(name, f'data/{name}')
  message = str(error.value)
  assert f'there is no folder data/{name}' in message
  assert '--config.data.root=FOLDER' in message
  assert len(message.splitlines()) == 1
  if name in PUBLIC:
    assert f'python -m a3dcae_jax.prepare --config={name} --download' in message
  else:
    assert '--download' not in message
    assert 'the documentation says more under' in message


def test_a_missing_folder_of_the_user_is_filled_by_the_download(tmp_path):
  folder = tmp_path / 'mine'
  with pytest.raises(UserError, match=f'--config.data.root={folder} --download'):
    check_root('avenue', folder)
  check_root('avenue', tmp_path)
  check_root('synthetic', '')


def test_checksums_are_well_formed():
  listed = {name: archives(name) for name in NAMES}
  assert tuple(name for name in NAMES if listed[name]) == PUBLIC
  for name in PUBLIC:
    for archive in listed[name]:
      assert archive.url.endswith(archive.filename)
      assert archive.size > 0
      assert len(bytes.fromhex(archive.sha256)) == 32


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_tfds_reads_the_same_checksums(name):
  from tensorflow_datasets.core.download import checksums

  from tests.data.builders.tfds_test import builder_class

  builder = builder_class(name)
  folder = importlib.import_module(f'a3dcae_jax.data.builders.{name}').__path__[0]
  infos = checksums.load_url_infos(f'{folder}/checksums.tsv')
  read = {url: (int(info.size), info.checksum) for url, info in infos.items()}
  assert read == {archive.url: (archive.size, archive.sha256) for archive in archives(name)}
  assert set(builder.DOWNLOADS.values()) == set(infos)
  assert builder.url_infos.keys() == infos.keys()
  if not builder.DOWNLOADS and name != 'synthetic':
    assert len(builder.MANUAL_DOWNLOAD_INSTRUCTIONS) > 20
