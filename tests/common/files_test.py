"""Files are complete or missing, their places usable, and JSON errors name the file."""

import concurrent.futures
import errno
import json
import pathlib
import re

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import (
  atomic_dir,
  atomic_write,
  check_writable,
  file_key,
  local_path,
  object_digest,
  read_json,
  read_object,
  remove_leftovers,
  write_json,
)


def test_different_names_have_different_keys_on_any_file_system():
  names = [
    'a b',
    'a_b',
    'A_B',
    'é',
    'e\u0301',
    '摄像头',
    '停车场',
    '\udce9',
    'a/b',
    '',
    '.',
    '..',
    'x' * 999,
  ]
  keys = {file_key(name).lower() for name in names}
  assert len(keys) == len(names)
  assert all(re.fullmatch(r'[a-z0-9_.-]{1,100}', key) for key in keys)


def test_a_failed_write_leaves_the_old_file(tmp_path):
  path = tmp_path / 'a' / 'x.txt'
  with atomic_write(path) as file:
    file.write('old')
  with pytest.raises(RuntimeError), atomic_write(path) as file:
    file.write('half')
    raise RuntimeError
  assert path.read_text() == 'old'
  assert [entry.name for entry in path.parent.iterdir()] == ['x.txt']


def test_a_failed_write_leaves_the_old_folder(tmp_path):
  with atomic_dir(tmp_path / 'f') as folder:
    (folder / 'old').touch()
  with pytest.raises(RuntimeError), atomic_dir(tmp_path / 'f') as folder:
    (folder / 'half').touch()
    raise RuntimeError
  assert [path.name for path in tmp_path.rglob('*')] == ['f', 'old']


def test_a_written_folder_replaces_the_old_one(tmp_path):
  for name in ('old', 'new'):
    with atomic_dir(tmp_path / 'f') as folder:
      (folder / name).touch()
  assert [path.name for path in tmp_path.rglob('*')] == ['f', 'new']


def test_json_is_read_as_written(tmp_path):
  path = tmp_path / 'a.json'
  write_json(path, {'a': [1, None]})
  assert read_json(path) == {'a': [1, None]}


def test_nan_is_refused_and_leaves_the_old_file(tmp_path):
  path = tmp_path / 'a.json'
  write_json(path, {'a': 1})
  with pytest.raises(ValueError, match='not JSON compliant'):
    write_json(path, float('nan'))
  assert json.loads(path.read_text()) == {'a': 1}


def test_a_json_file_that_cannot_be_read_is_named(tmp_path):
  with pytest.raises(UserError, match='none.json does not exist'):
    read_json(tmp_path / 'none.json')
  for content in (b'{', b'{"a": "\xff"}', b'[' * 100_000):
    (tmp_path / 'b.json').write_bytes(content)
    with pytest.raises(UserError, match='b.json is not valid JSON'):
      read_json(tmp_path / 'b.json')


def test_a_json_file_without_an_object_is_named(tmp_path):
  write_json(tmp_path / 'a.json', {'a': 1})
  assert read_object(tmp_path / 'a.json') == {'a': 1}
  write_json(tmp_path / 'b.json', [])
  with pytest.raises(UserError, match='b.json is damaged: .* not list'):
    read_object(tmp_path / 'b.json')


def test_a_digest_depends_on_content_alone():
  assert object_digest({'a': 1, 'b': 2, 'sha256': 'x'}) == object_digest({'b': 2, 'a': 1})
  assert object_digest({'a': 1}) != object_digest({'a': 2})


@pytest.mark.parametrize('text', ['gs://b/x', 's3://bucket', 'http://h/a.mp4', 'rtsp://camera/1'])
def test_an_address_is_refused_by_name(text):
  with pytest.raises(UserError, match=rf'^--workdir \(={text}\) is an address'):
    local_path(text, '--workdir')


def test_a_tilde_is_the_home_of_the_user(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  assert local_path('~/runs/x', 'f') == '/home/me/runs/x'
  assert local_path('runs/~x', 'f') == 'runs/~x'
  assert local_path('', 'f') == ''
  assert local_path(pathlib.Path('a:b'), 'f') == 'a:b'
  with pytest.raises(UserError, match='f .=~nobody_of_this_name/x'):
    local_path('~nobody_of_this_name/x', 'f')


def test_a_folder_that_can_be_made_is_writable_and_stays_unmade(tmp_path):
  check_writable(tmp_path / 'a' / 'b', '--workdir')
  check_writable(tmp_path, '--workdir')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'path',
  [
    '{folder}/file/x/y',
    '{folder}/file',
    '/proc/none/x',
    '{folder}/' + 'a' * 999,
    '{folder}/link/x',
    '{folder}/circle',
  ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, path):
  (tmp_path / 'file').touch()
  (tmp_path / 'link').symlink_to('none')
  (tmp_path / 'circle').symlink_to('circle')
  with pytest.raises(UserError, match='--bundle .* cannot be written') as error:
    check_writable(path.format(folder=tmp_path), '--bundle')
  assert len(str(error.value).splitlines()) == 1


def test_folders_that_are_put_at_one_place_at_once_are_whole(tmp_path):
  def write(number):
    for _ in range(20):
      with atomic_dir(tmp_path / 'f') as folder:
        for name in 'abc':
          (folder / name).write_text(str(number))

  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for result in [pool.submit(write, number) for number in range(4)]:
      result.result()
  assert len({(tmp_path / 'f' / name).read_text() for name in 'abc'}) == 1
  assert [path.name for path in tmp_path.iterdir()] == ['f']


@pytest.mark.parametrize('writer', [atomic_write, atomic_dir])
def test_an_error_of_a_disk_names_the_place(tmp_path, writer):
  with pytest.raises(OSError, match='No space left') as error, writer(tmp_path / 'x'):
    raise OSError(errno.ENOSPC, 'No space left on device')
  assert error.value.filename == str(tmp_path / 'x')


def test_what_killed_processes_have_left_is_removed(tmp_path):
  kept = ['.f.lock', '.f.parts', '.g.abcdefgh', 'f', 'f.abcdefgh']
  for name in (*kept, '.f.abcd_f12'):
    (tmp_path / name).mkdir()
  remove_leftovers(tmp_path / 'f')
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_folder_does_not_replace_a_file(tmp_path):
  (tmp_path / 'f').write_text('mine')
  with pytest.raises(NotADirectoryError), atomic_dir(tmp_path / 'f'):
    pass
  assert (tmp_path / 'f').read_text() == 'mine'
  assert [path.name for path in tmp_path.iterdir()] == ['f']
