"""Files are complete or missing, and JSON errors name the file."""

import json

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import (
  atomic_dir,
  atomic_write,
  object_digest,
  read_json,
  read_object,
  write_json,
)


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
