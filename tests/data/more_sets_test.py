"""UBnormal, Street Scene, NWPU Campus and IITB Corridor, on small imitations."""

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.builders import reader
from a3dcae_jax.data.video import Region, masks_of_regions, with_length
from tests.data.dummy_sets import (
  VIDEO_SIZE,
  noise,
  prepare_set,
  write_frames,
  write_iitb_corridor,
  write_nwpu_campus,
  write_street_scene,
  write_ubnormal,
  write_video,
)

WRITERS = {
  'ubnormal': write_ubnormal,
  'street_scene': write_street_scene,
  'nwpu_campus': write_nwpu_campus,
  'iitb_corridor': write_iitb_corridor,
}
ABNORMAL = 'abnormal_scene_2_scenario_2'
EVENTS = f'Scene2/{ABNORMAL}_annotations/{ABNORMAL}_tracks.txt'
FIRST_MAP = f'Scene2/{ABNORMAL}_annotations/{ABNORMAL}_0000_gt.png'
BOXES = 'Test/Test001/Test001_gt.txt'
ARCHIVE = 'groundtruth/NWPU_Campus_gt.npz'


@pytest.fixture
def made(tmp_path, rng):
  """Return a function that writes a set, and one that makes its frame cache."""

  def write(name):
    root = tmp_path / 'set'
    WRITERS[name](root, rng)
    return root, lambda: prepare_set(name, VIDEO_SIZE, root, tmp_path)

  return write


def names_of(split):
  return [video.name for video in split.videos]


def abnormal_frames(cache):
  return np.flatnonzero(cache.test.labels).tolist()


def test_ubnormal(made):
  root, prepare = made('ubnormal')
  cache = prepare()
  assert names_of(cache.train) == ['normal_scene_1_scenario_1']
  assert names_of(cache.test) == [ABNORMAL, 'normal_scene_2_scenario_1']
  assert [video.scene for video in cache.test.videos] == ['2', '2']
  assert abnormal_frames(cache) == [2, 3, 4, 5]
  assert all(video.has_masks for video in cache.test.videos)
  areas = cache.test.masks.sum((1, 2)).tolist()
  assert areas == [0, 0, 64, 64, 64 + 160, 160, 0, 0] + 8 * [0]
  assert cache.test.tracks == {
    ABNORMAL: (
      Region(0, 2, 2, 4, 10, 12),
      Region(0, 3, 2, 4, 10, 12),
      Region(0, 4, 2, 4, 10, 12),
      Region(1, 4, 30, 8, 40, 24),
      Region(1, 5, 30, 8, 40, 24),
    ),
    'normal_scene_2_scenario_1': (),
  }
  notes = cache.index['notes']
  assert 'test: 2 of the 211 published videos are here' in notes
  unread = 'not read, since it is neither a normal training video nor a test video'
  assert f'{unread}: Scene1/normal_scene_1_scenario_3.mp4' in notes


def test_ubnormal_without_maps_has_labels_alone(made):
  root, prepare = made('ubnormal')
  for path in root.glob('Scene2/*_annotations/*.png'):
    path.unlink()
  cache = prepare()
  assert abnormal_frames(cache) == [2, 3, 4, 5]
  assert cache.test.masks is None


def test_an_event_of_ubnormal_that_outlasts_its_video_is_cut(made):
  root, prepare = made('ubnormal')
  (root / EVENTS).write_text('1,6,99\n')
  cache = prepare()
  assert abnormal_frames(cache) == [6, 7]
  assert any('cut at its end' in note for note in cache.index['notes'])


def test_of_an_object_in_parts_the_largest_box_counts(made):
  root, prepare = made('ubnormal')
  objects = np.zeros(VIDEO_SIZE, np.uint8)
  objects[0:2, 0:2] = 1
  objects[10:20, 20:26] = 1
  Image.fromarray(objects).save(root / FIRST_MAP)
  (root / EVENTS).write_text('1,0,0\n')
  assert prepare().test.tracks[ABNORMAL] == (Region(0, 0, 20, 10, 26, 20),)


def test_street_scene(made):
  root, prepare = made('street_scene')
  cache = prepare()
  assert names_of(cache.test) == ['Test001', 'Test002']
  assert abnormal_frames(cache) == [1, 2]
  assert cache.test.tracks == {
    'Test001': (
      Region(0, 1, 6, 6, 14, 10),
      Region(0, 2, 8, 6, 16, 10),
      Region(1, 2, 41, 28, 48, 32),  # cut at the right and at the bottom
    ),
    'Test002': (),
  }
  assert cache.test.masks.sum((1, 2)).tolist() == [0, 32, 32 + 28, *[0] * 9]
  notes = cache.index['notes']
  assert 'pixel masks are the boxes of the tracks: test videos' in notes
  assert 'train: 1 of the 46 published videos are here' in notes
  assert not any('left out' in note for note in notes)


def test_nwpu_campus(made):
  root, prepare = made('nwpu_campus')
  cache = prepare()
  assert abnormal_frames(cache) == [4, 5]
  assert [video.scene for video in cache.test.videos] == ['D001', 'D002']
  assert 'test: 2 of the 242 published videos are here' in cache.index['notes']
  np.savez(root / ARCHIVE, D001_02=np.zeros(6), D002_01=np.arange(6) < 1)
  assert abnormal_frames(prepare()) == [6]  # the archive is one of its sources


def test_iitb_corridor(made):
  _, prepare = made('iitb_corridor')
  cache = prepare()
  assert (names_of(cache.train), names_of(cache.test)) == (['000001'], ['000209'])
  assert abnormal_frames(cache) == [2]
  assert cache.index['layout'].startswith('official (Train_IITB-Corridor/Train, ')


def test_iitb_corridor_in_the_community_layout(tmp_path, rng):
  root = tmp_path / 'set'
  write_frames(root / 'training' / '000001', noise(rng, 5))
  write_frames(root / 'testing' / '000209', noise(rng, 5))
  (root / 'groundtruth' / '000209').mkdir(parents=True)
  np.save(root / 'groundtruth' / '000209' / '000209.npy', np.arange(5) > 3)
  cache = prepare_set('iitb_corridor', VIDEO_SIZE, root, tmp_path)
  assert abnormal_frames(cache) == [4]
  assert cache.index['layout'] == 'community (training, testing)'


@pytest.mark.parametrize('name', WRITERS)
def test_a_folder_around_the_set_is_looked_into_and_others_are_refused(made, tmp_path, name):
  root, _ = made(name)
  if name != 'iitb_corridor':  # its archives have folders of their own
    (tmp_path / 'outer').mkdir()
    root.rename(tmp_path / 'outer' / 'archive')
    assert reader(name).videos(tmp_path / 'outer', 'test')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='empty: unknown layout; looked for '):
    reader(name).videos(tmp_path / 'empty', 'test')


@pytest.mark.parametrize(
  'name, file, text, message',
  [
    ('ubnormal', EVENTS, '1,2\n', "tracks.txt, line 1: '1,2' must be whole numbers object,start,"),
    ('ubnormal', EVENTS, '1,5,2\n', 'tracks.txt: 5..2 are not a first and a last frame'),
    ('ubnormal', EVENTS, '1,50,60\n', 'interval 50..61 .* does not fit into 8 frames'),
    ('ubnormal', EVENTS, None, 'tracks.txt does not exist'),
    ('ubnormal', FIRST_MAP, None, 'a map NAME_NNNN_gt.png for each frame.* 0000 is missing'),
    (
      'ubnormal',
      'scripts/normal_test_video_names.txt',
      None,
      'scripts has no normal_test_video_na',
    ),
    ('street_scene', BOXES, '00002.jpg 0 10 8 8\n', 'line 1: .* must be image track x y width hei'),
    ('street_scene', BOXES, '00002.jpg 0 10 8 8 nan\n', 'line 1: .* must be image track x y widt'),
    ('street_scene', BOXES, '00009.jpg 0 10 8 8 4\n', "line 1: there is no image '00009.jpg'"),
    ('street_scene', BOXES, '00002.jpg 0 99 8 8 4\n', 'a box outside of the image, .* 48x32 pix'),
    ('street_scene', BOXES, None, r'Test001 .*no labels \(official\), which other test videos'),
    ('nwpu_campus', ARCHIVE, 'not an archive', 'gt.npz is not a whole .npz archive'),
    ('iitb_corridor', 'Test_IITB-Corridor/Test/000209/2.avi', 'x', 'must be one video in this fo'),
  ],
)
def test_files_of_another_form_are_named(made, name, file, text, message):
  root, prepare = made(name)
  if text is None:
    (root / file).unlink()
  else:
    (root / file).write_text(text)
  with pytest.raises(UserError, match=message):
    prepare()


def test_labels_of_another_length_are_named(made):
  root, prepare = made('nwpu_campus')
  np.savez(root / ARCHIVE, D001_02=np.zeros(7), D002_01=np.zeros(6))
  with pytest.raises(UserError, match=r'D001_02 .*6 frames, but 7 labels \(official\)'):
    prepare()
  np.savez(root / ARCHIVE, D001_02=np.zeros(6), D002_01=np.arange(6))
  with pytest.raises(UserError, match='gt.npz, D002_01: labels must be 0 and 1'):
    prepare()
  np.savez(root / ARCHIVE, D001_02=np.zeros(6))
  with pytest.raises(UserError, match='D002_01 .*no labels'):
    prepare()


def test_masks_of_regions_by_hand():
  regions = [Region(0, 1, 0.5, 1, 2, 2.2), Region(1, 1, 3, -5, 9, 1), Region(2, 7, 0, 0, 4, 4)]
  masks = list(masks_of_regions(regions, 2, (3, 4)))
  assert masks[0].sum() == 0
  assert masks[1].tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_video_of_ubnormal_with_tracks_on_demand(made):
  root, _ = made('ubnormal')
  video = reader('ubnormal').videos(root, 'test')[0]
  assert video.tracks is None
  assert len(with_length(video, 8).tracks) == 5


@pytest.mark.parametrize('name', WRITERS)
def test_a_set_without_a_test_part_is_read(tmp_path, rng, name):
  root = tmp_path / 'set'
  if name == 'ubnormal':
    write_ubnormal(root, rng)
    for path in root.glob('Scene2/*.mp4'):
      path.unlink()
  elif name == 'street_scene':
    write_frames(root / 'Train' / 'Train001', noise(rng, 4))
  elif name == 'nwpu_campus':
    write_video(root / 'videos' / 'Train' / 'D001_01.avi', rng, frames=4)
  else:
    write_video(root / 'Train' / '000001' / '000001.avi', rng, frames=4)
  assert reader(name).videos(root, 'test') == []
  assert len(reader(name).videos(root, 'train')) == 1
