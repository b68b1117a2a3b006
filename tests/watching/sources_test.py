"""Sources by their text, and what is wrong with them."""

import os

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.watching.sources import FORMAT, find_sources, parse_shard, without_secrets


def names(texts, shard=(0, 1)):
  return [(source.kind, source.name) for source in find_sources([str(t) for t in texts], shard)]


def touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'')
  return path


def test_kinds_and_names(tmp_path):
  video = touch(tmp_path / 'a b.mp4')
  assert names([video, '-', 'rtsp://u:p@cam.local:554/live/1?x=y', f'gate={video}']) == [
    ('file', 'a-b.mp4'),
    ('pipe', 'stdin'),
    ('address', 'cam.local-554-live-1'),
    ('file', 'gate'),
  ]
  live = find_sources(['door=http://cam/x'])[0]
  assert (live.name, live.is_live, live.shown) == ('door', True, 'http://cam/x')
  assert names([video, video]) == [('file', 'a-b.mp4'), ('file', 'a-b.mp4-2')]
  assert [name for _, name in names([f'{x}={video}' for x in ('a', 'A', 'a-2', 'Öl', '7')])] == [
    'a',
    'A-3',
    'a-2',
    'Öl',
    '7',
  ]


def test_a_folder_is_frames_or_an_archive(tmp_path):
  frames = tmp_path / 'cam7'
  frames.mkdir()
  for index in range(3):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(frames / f'{index}.png')
  assert names([frames]) == [('images', 'cam7')]
  touch(tmp_path / 'day2' / 'x.avi')
  touch(tmp_path / 'day1' / 'x.avi')
  touch(tmp_path / 'day1' / 'notes.txt')
  touch(tmp_path / '.hidden' / 'y.avi')
  expected = [('images', 'cam7'), ('file', 'day1/x.avi'), ('file', 'day2/x.avi')]
  assert names([tmp_path]) == expected
  assert names([f'old={tmp_path}'])[1] == ('file', 'old/day1/x.avi')
  parts = [names([tmp_path], (k, 2)) for k in range(2)]
  assert sorted(parts[0] + parts[1]) == sorted(expected)
  write_json(tmp_path / 'found' / 'detect.json', {'format': FORMAT})
  touch(tmp_path / 'found' / 'x.avi' / 'overlay.mp4')  # of an earlier call
  assert names([tmp_path]) == expected
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='no video and no folder of images'):
    find_sources([str(tmp_path / 'empty')])


@pytest.mark.parametrize(
  'text, words',
  [
    ('nothing.mp4', 'nothing.mp4 does not exist'),
    ('ftp://me:secret@host/x', 'addresses that begin with ftp:// are not known'),
    ('rtsp://', 'is not an address'),
    ('rtsp://me:secret@host:99999999/x', 'is not an address'),
    ('rtsp://me:secret@[host/x', 'is not an address'),
    (
      'rtsp://me:a/secret@host/x',
      r'rtsp://\.\.\.@host/x is not an address.* write / \? # @ as %2F',
    ),
    ('rtsp://me:a#secret@host/x', 'is not an address'),
    ('my door=rtsp://me:secret@host/x', "the name 'my door' of a source must be letters"),
    ('=-', "the name '' of a source"),
    ('door=', "the name 'door' of a source"),
    ('', 'a source is empty'),
    ('4321', 'there is no camera 4321'),
  ],
)
def test_wrong_sources_are_named_in_one_line(text, words):
  with pytest.raises(UserError, match=words) as caught:
    find_sources([text])
  assert '\n' not in str(caught.value)
  assert 'secret' not in str(caught.value)


def test_no_source_and_two_pipes_are_refused():
  with pytest.raises(UserError, match='name a source'):
    find_sources([])
  with pytest.raises(UserError, match='named twice'):
    find_sources(['-', 'a=-'])


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_file_without_permission_is_named(tmp_path):
  video = touch(tmp_path / 'x.mp4')
  video.chmod(0)
  with pytest.raises(UserError, match='permission denied'):
    find_sources([str(video)])


def test_shards():
  assert parse_shard('2/3') == (1, 3)
  for wrong in ('0/3', '4/3', '1', 'a/b'):
    with pytest.raises(UserError, match='must be K/N'):
      parse_shard(wrong)


def test_a_part_without_a_source_is_empty_for_files_and_refused_for_cameras(tmp_path):
  video = str(touch(tmp_path / 'a.mp4'))
  assert find_sources([video], (1, 2)) == []
  with pytest.raises(UserError, match='part 3 of 3 has no source to watch, as there are only 2'):
    find_sources([video, 'door=rtsp://h/x'], (2, 3))


@pytest.mark.parametrize(
  'address, shown',
  [
    ('https://me:word@h:8/a/b?token=1#x', 'https://h:8/a/b'),
    ('rtsp://h:554/user=me_password=word_channel=1.sdp', 'rtsp://h:554/'),
    ('rtsp://me:1234/word@h/live', 'rtsp://...@h/live'),
    ('http://me:word@[h/x?y', 'http://...@[h/x'),
    ('hello', 'hello'),
  ],
)
def test_secrets_are_cut_out(address, shown):
  assert without_secrets(address) == shown


def test_a_long_secret_in_a_named_address_is_not_printed():
  address = f'rtsp://me:secret@h/live?{"x" * 300}'
  assert find_sources([f'door={address}'])[0].shown == 'rtsp://h/live'
