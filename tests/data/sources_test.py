"""A frame cache knows the files that it was made from, and what is left out of a folder is said."""

import concurrent.futures
import errno
import fcntl
import functools
import itertools
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.sources import changes, find_sources
from tests.data.dummy_sets import VIDEO_SIZE, noise, prepare_set, write_frames, write_video

prepare = functools.partial(prepare_set, 'video_folder', VIDEO_SIZE)


def names_of(split):
  return [video.name for video in split.videos]


@pytest.fixture
def root(tmp_path, rng):
  """Videos of the user: training/a.mp4, training/b/NNN.png and testing/t.mp4."""
  root = tmp_path / 'mine'
  write_video(root / 'training' / 'a.mp4', rng)
  write_frames(root / 'training' / 'b', noise(rng, 5, VIDEO_SIZE))
  write_video(root / 'testing' / 't.mp4', rng)
  return root


def add_labels(root, rng):
  (root / 'labels.csv').write_text('video,start,end\nt,10,20\n')


def add_video(root, rng):
  write_video(root / 'training' / 'c.mp4', rng)


def remove_video(root, rng):
  (root / 'training' / 'a.mp4').unlink()


def replace_video(root, rng):
  write_video(root / 'training' / 'a.mp4', rng, frames=30)


def change_image(root, rng):
  write_frames(root / 'training' / 'b', noise(rng, 1, VIDEO_SIZE))


@pytest.mark.parametrize(
  'change, said, counts',
  [
    (add_labels, 'new: labels.csv', [25, 10]),
    (add_video, 'new: training/c.mp4', [45, 0]),
    (remove_video, 'gone: training/a.mp4', [5, 0]),
    (replace_video, 'changed: training/a.mp4', [35, 0]),
    (change_image, 'changed: training/b/*', [25, 0]),
  ],
)
def test_a_cache_is_made_anew_when_its_sources_change(
  root, tmp_path, rng, capsys, change, said, counts
):
  first = prepare(root, tmp_path)
  assert prepare(root, tmp_path).data_hash == first.data_hash
  assert 'made again' not in capsys.readouterr().out
  change(root, rng)
  cache = prepare(root, tmp_path)
  assert f'its sources have changed ({said}), so it is made again' in capsys.readouterr().out
  abnormal = 0 if cache.test.labels is None else int(cache.test.labels.sum())
  assert [len(cache.train.frames), abnormal] == counts
  assert cache.data_hash != first.data_hash
  cache.verify()


def test_a_label_file_elsewhere_is_a_source(root, tmp_path):
  labels = tmp_path / 'mine.csv'
  labels.write_text('video,start,end\nt,10,20\n')
  options = {'labels': str(labels)}
  assert prepare(root, tmp_path, options=options).test.labels.sum() == 10
  labels.write_text('video,start,end\nt,10,13\n')
  assert prepare(root, tmp_path, options=options).test.labels.sum() == 3


def test_a_fault_in_new_files_leaves_the_cache_as_it_was(root, tmp_path):
  first = prepare(root, tmp_path)
  (root / 'training' / 'c.mp4').write_text('not a video')
  with pytest.raises(UserError, match='train video c'):
    prepare(root, tmp_path)
  (root / 'training' / 'c.mp4').unlink()
  assert prepare(root, tmp_path).data_hash == first.data_hash


def test_boxes_stay_if_the_frames_do(root, tmp_path, rng):
  folder = prepare(root, tmp_path).folder
  (folder / 'boxes-1').mkdir()
  add_labels(root, rng)
  prepare(root, tmp_path)
  assert (folder / 'boxes-1').is_dir()
  add_video(root, rng)
  prepare(root, tmp_path)
  assert not (folder / 'boxes-1').exists()


def test_a_cache_stays_when_all_videos_are_gone(root, tmp_path):
  first = prepare(root, tmp_path)
  shutil.rmtree(root)
  assert prepare(root, tmp_path).data_hash == first.data_hash


def test_a_cache_stays_when_it_cannot_be_made_without_what_is_gone(root, tmp_path, capsys):
  first = prepare(root, tmp_path)
  shutil.rmtree(root / 'training')
  assert prepare(root, tmp_path, splits=('test',)).data_hash == first.data_hash
  assert 'cannot be made without the files that are gone' in capsys.readouterr().out


def test_sources_are_found_below_links_and_loops(root, tmp_path, rng):
  write_video(tmp_path / 'disk' / 'd.mp4', rng)
  os.symlink(tmp_path / 'disk', root / 'training' / 'linked')
  os.symlink(root, root / 'training' / 'loop')
  os.symlink(root / 'none', root / 'training' / 'x.mp4')
  (root / 'training' / '.DS_Store').write_text('junk')
  found = find_sources(root)
  assert 'training/linked/d.mp4' in found
  assert sorted(found) == [
    'testing/t.mp4', 'training/a.mp4', 'training/b/*', 'training/linked/d.mp4'
  ]  # fmt: skip
  assert not changes(found, find_sources(root))


def test_the_caches_are_no_sources(root):
  before = find_sources(root, without=root / 'caches')
  (root / 'caches').mkdir()
  np.save(root / 'caches' / 'train.npy', np.zeros(3))
  assert find_sources(root, without=root / 'caches') == before


def test_processes_that_want_one_cache_wait_for_one_another(root, tmp_path):
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    caches = [pool.submit(prepare, root, tmp_path) for _ in range(4)]
    hashes = {cache.result().data_hash for cache in caches}
  assert len(hashes) == 1
  assert len(list((tmp_path / 'caches').iterdir())) == 1


def test_without_locks_each_process_makes_the_cache(root, tmp_path, monkeypatch):
  def flock(*_):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  numbers = itertools.count()  # threads stand for processes
  monkeypatch.setattr(os, 'getpid', lambda: next(numbers))
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    caches = [pool.submit(prepare, root, tmp_path) for _ in range(4)]
    hashes = {cache.result().data_hash for cache in caches}
  assert len(hashes) == 1
  assert len(list((tmp_path / 'caches').iterdir())) == 1


NAMES = ['cam 1', 'cam_1', 'cam-1', 'CAM_1', 'café', 'cafe\u0301', '摄像头', '停车场']


def test_videos_keep_their_frames_whatever_their_names(tmp_path, rng):
  root = tmp_path / 'mine'
  for index, name in enumerate(NAMES):
    write_frames(root / 'training' / name, np.full((3 + index, *VIDEO_SIZE), 20 * index, np.uint8))
  write_frames(root / 'testing' / 'cam 1', noise(rng, 3, VIDEO_SIZE))
  train = prepare(root, tmp_path).train
  found = {video.name: video for video in train.videos}
  assert set(found) == set(NAMES)
  for index, name in enumerate(NAMES):
    video = found[name]
    assert video.num_frames == 3 + index
    frames = train.frames[video.first : video.first + video.num_frames]
    assert (frames == 20 * index).all()


def test_two_videos_of_one_name_are_refused(root, tmp_path, rng):
  write_video(root / 'training' / 'a.avi', rng)
  with pytest.raises(UserError, match=r'train video a .*a.avi has the same name.*rename one'):
    prepare(root, tmp_path)


def test_what_is_left_out_is_noted(root, tmp_path, rng):
  for name in ('@eaDir', '__MACOSX', '.Trash', '_old'):
    (root / 'training' / name).mkdir()
  for name in ('.DS_Store', 'Thumbs.db', 'notes.doc', '000.png'):
    (root / 'training' / name).write_text('x')
  (root / 'training' / 'b' / 'readme').write_text('x')
  (root / 'label.csv').write_text('x')
  notes = prepare(root, tmp_path).index['notes']
  assert notes == [
    'skipped, hidden or a system file: training/.DS_Store, training/.Trash, training/@eaDir, '
    'training/Thumbs.db, training/__MACOSX',
    'left out, since it is not a video or a folder of images: training/000.png, training/_old, '
    'training/notes.doc',
    'left out, since it is not where this layout has videos or labels: label.csv',
    'left out, since it is not an image: training/b/readme',
  ]


def test_notes_on_frames_name_the_video(tmp_path, rng):
  root = tmp_path / 'mine'
  folder = root / 'training' / 'a'
  write_frames(folder, noise(rng, 4, VIDEO_SIZE))
  for index, path in enumerate(sorted(folder.iterdir())):
    path.rename(folder / f'{10 * index}_rgb.webp')
  Image.fromarray(np.full(VIDEO_SIZE, 4095, np.uint16)).save(folder / '40_rgb.png')
  cache = prepare(root, tmp_path)
  assert len(cache.train.frames) == 5
  assert cache.index['notes'] == [
    'frame numbers in steps of 10: training/a',
    'pixels of 16 bits, of which the upper 8 are kept: training/a',
  ]


def test_a_video_without_light_is_noted(tmp_path):
  folder = tmp_path / 'mine' / 'training' / 'a'
  write_frames(folder, np.full((3, *VIDEO_SIZE), 4095, np.uint16))  # 12 bits in 16
  assert prepare(tmp_path / 'mine', tmp_path).index['notes'] == [
    'pixels of 16 bits, of which the upper 8 are kept: training/a',
    'nearly black, no pixel is above 15 of 255: training/a',
  ]


def put_deeper(root):
  (root / 'training' / 'day').mkdir()
  (root / 'training' / 'a.mp4').rename(root / 'training' / 'day' / 'a.mp4')


def put_two_deeper(root):
  (root / 'training' / 'cam' / 'day').mkdir(parents=True)
  (root / 'training' / 'a.mp4').rename(root / 'training' / 'cam' / 'day' / 'a.mp4')


def put_unreadable_frames(root):
  (root / 'training' / 'c').mkdir()
  (root / 'training' / 'c' / '000.heic').write_text('x')


def rename_splits(root):
  (root / 'training').rename(root / 'Train')
  (root / 'testing').rename(root / 'test')


def put_videos_of_unknown_kind(root):
  shutil.rmtree(root / 'training')
  (root / 'training').mkdir()
  (root / 'training' / 'clip.dav').write_text('x')


def name_folders_otherwise(root):
  (root / 'training').rename(root / 'normal')
  (root / 'testing').rename(root / 'abnormal')


def flatten(root):
  (root / 'training' / 'a.mp4').unlink()
  (root / 'training' / 'b').rename(root / 'b')
  shutil.rmtree(root / 'training')
  (root / 'b').rename(root / 'training')


def flatten_test(root):
  (root / 'testing' / 't.mp4').unlink()
  shutil.copy(root / 'training' / 'b' / '000.png', root / 'testing')


def link_to_nothing(root):
  os.symlink(root / 'none.mp4', root / 'training' / 'c.mp4')


def link_to_itself(root):
  os.symlink('c.mp4', root / 'training' / 'c.mp4')


def put_control_characters(root):
  (root / 'training' / 'b').rename(root / 'training' / 'x\ny')


def put_sizes(root):
  Image.fromarray(np.zeros((2, 3), np.uint8)).save(root / 'training' / 'b' / '005.png')


def empty_training(root):
  shutil.rmtree(root / 'training')
  (root / 'training').mkdir()


def put_pipe(root):
  os.mkfifo(root / 'labels.csv')


@pytest.mark.parametrize(
  'change, message',
  [
    (put_deeper, r'video day .*with videos \(a.mp4\).*move the videos one folder up'),
    (put_two_deeper, r'video cam .*with folders \(day\).*move the folders one folder up'),
    (put_unreadable_frames, 'video c .*without images that can be read, but with 000.heic'),
    (rename_splits, 'rename Train/ to training/ and test/ to testing/'),
    (put_videos_of_unknown_kind, 'but with clip.dav, whose kind is not known as a video'),
    (name_folders_otherwise, 'no training/ folder.*there are abnormal, normal'),
    (flatten, r'training has images \(000.png, ...\).* move them to training/NAME/'),
    (flatten_test, r'testing has images \(000.png, ...\).* move them to testing/NAME/'),
    (link_to_nothing, 'video c .*No such file'),
    (link_to_itself, 'video c .*symbolic links'),
    (put_control_characters, r'video x\\ny .*its name has a control character.*rename it'),
    (put_sizes, '3x2, the ones before are 48x32; cut the video there'),
    (empty_training, 'no training/ folder with videos in it, it is empty'),
    (put_pipe, 'labels.csv must be a file, it is a pipe'),
  ],
)
def test_other_arrangements_get_a_hint(root, tmp_path, change, message):
  change(root)
  with pytest.raises(UserError, match=message) as error:
    prepare(root, tmp_path)
  assert len(str(error.value).splitlines()) == 1


def test_a_single_video_that_is_replaced_is_read_again(tmp_path, rng, capsys):
  path = write_video(tmp_path / 'v.mp4', rng)
  options = {'train_fraction': 0.5}
  prepare(path, tmp_path, options=options)
  write_video(path, rng, frames=30)
  assert len(prepare(path, tmp_path, options=options).train.frames) == 15
  assert f'changed: {path}' in capsys.readouterr().out


def test_a_fraction_beside_training_videos_is_said_and_a_wrong_one_refused(root, tmp_path):
  cache = prepare(root, tmp_path, options={'train_fraction': 0.5})
  assert (
    'not used, since there are training videos: data.options.train_fraction' in cache.index['notes']
  )
  for fraction in (1.0, -0.5, float('nan')):
    with pytest.raises(UserError, match='train_fraction .=.*must be at least 0 and below 1'):
      prepare(root, tmp_path, options={'train_fraction': fraction})


def test_a_folder_around_the_videos_is_not_looked_through(root, tmp_path):
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'a.csv').touch()
  assert find_sources(root, {'labels': str(tmp_path)}) == find_sources(root)
  with pytest.raises(UserError, match='must be a file, it is a folder'):
    prepare(root, tmp_path, options={'labels': str(tmp_path)})
