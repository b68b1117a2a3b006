"""The TFDS builders give the frames of their readers in order, offline."""

import importlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from a3dcae_jax.data.builders import NAMES
from a3dcae_jax.data.video import with_length
from tests.data.dummy_sets import (
  noise,
  write_frames,
  write_iitb_corridor,
  write_nwpu_campus,
  write_street_scene,
  write_ubnormal,
  write_ucsd,
  write_video,
  write_vol_label,
)

pytestmark = pytest.mark.slow


def write_nothing(root, rng):
  """The synthetic set has no files."""


def write_ped1(root, rng):
  write_ucsd(root, rng, script='UCSDped1.m', frames=12)


def write_ped2(root, rng):
  write_ucsd(root, rng, frames=12)


def write_avenue(root, rng):
  write_video(root / 'training_videos' / '01.avi', rng, frames=3)
  write_video(root / 'testing_videos' / '08.avi', rng, frames=4)
  masks = root / 'ground_truth_demo' / 'testing_label_mask'
  write_vol_label(masks / '8_label.mat', np.arange(4) > 2)


def write_shanghaitech(root, rng):
  labels = np.arange(4) > 1
  masks = labels[:, None, None] * np.ones((1, 12, 18), np.uint8)
  write_frames(root / 'training' / 'frames' / '01_001', noise(rng, 4))
  write_frames(root / 'testing' / 'frames' / '02_0014', noise(rng, 4))
  for folder, array in (('test_frame_mask', labels), ('test_pixel_mask', masks)):
    (root / 'testing' / folder).mkdir()
    np.save(root / 'testing' / folder / '02_0014.npy', array)


def write_subway(root, rng):
  write_frames(root / 'gate', noise(rng, 9))
  (root / 'truth.csv').write_text('video,start,end\ngate,6,8\n')


def write_folder(root, rng):
  write_frames(root / 'training' / 'monday', noise(rng, 4))
  write_frames(root / 'testing' / 'tuesday', noise(rng, 4))


WRITERS = {
  'ucsd_ped1': write_ped1,
  'ucsd_ped2': write_ped2,
  'avenue': write_avenue,
  'shanghaitech': write_shanghaitech,
  'subway_entrance': write_subway,
  'subway_exit': write_subway,
  'ubnormal': write_ubnormal,
  'street_scene': write_street_scene,
  'nwpu_campus': write_nwpu_campus,
  'iitb_corridor': write_iitb_corridor,
  'video_folder': write_folder,
  'synthetic': write_nothing,
}


def options_of(name, root):
  if name == 'synthetic':
    return {'num_videos': 2, 'frames_per_video': 5, 'height': 16, 'width': 24}
  if name.startswith('subway'):
    return {'train_frames': 4, 'test_start': 5, 'labels': str(root / 'truth.csv')}
  return {}


def builder_class(name):
  module = importlib.import_module(f'a3dcae_jax.data.builders.{name}.{name}_dataset_builder')
  for value in vars(module).values():
    if isinstance(value, type) and getattr(value, 'name', None) == name:
      return value
  raise AssertionError(f'no builder of {name}')


def examples_of(builder, split):
  return list(builder.as_dataset(split=split).as_numpy_iterator())


def expected_examples(builder, split):
  """Return (video, frame number, frame, label) of each frame of the reader."""
  examples = []
  for video in builder.videos(split):
    frames = list(video.frames())
    labels = with_length(video, len(frames)).labels.get(builder.reader.LABEL_SETS[0])
    for index, frame in enumerate(frames):
      label = -1 if labels is None else labels[index]
      examples.append((video.name, index, frame, label))
  return examples


def no_masks(video):
  return [np.zeros_like(frame) for frame in video.frames()]


@pytest.mark.parametrize('name', NAMES)
def test_examples_equal_the_frames_of_the_reader(tmp_path, rng, name):
  root = tmp_path / 'videos'
  root.mkdir()
  WRITERS[name](root, rng)
  builder = builder_class(name)(
    root=root, options=options_of(name, root), data_dir=str(tmp_path / 'tfds')
  )
  builder.download_and_prepare()
  for split in ('train', 'test'):
    examples = examples_of(builder, split)
    expected = expected_examples(builder, split)
    assert expected
    for example, (video, index, frame, label) in zip(examples, expected, strict=True):
      assert (example['video'].decode(), example['frame']) == (video, index)
      np.testing.assert_array_equal(example['image'][..., 0], frame)
      assert example['label'] == label
  videos = builder.videos('test')
  if videos[0].masks:
    masks = []
    for video in videos:  # one without masks has empty ones
      masks += [255 * mask for mask in video.masks()] if video.masks else no_masks(video)
    read = [example['mask'][..., 0] for example in examples]
    np.testing.assert_array_equal(read, masks)


def unpack_avenue(tmp_path, rng):
  """Write the set as TFDS unpacks it, with each archive in a folder of its own."""
  write_avenue(tmp_path / 'whole', rng)
  videos = tmp_path / 'one' / 'Avenue Dataset'
  labels = tmp_path / 'two'
  videos.mkdir(parents=True)
  labels.mkdir()
  for folder in ('training_videos', 'testing_videos'):
    (tmp_path / 'whole' / folder).rename(videos / folder)
  (tmp_path / 'whole' / 'ground_truth_demo').rename(labels / 'ground_truth_demo')
  return {'videos': videos.parent, 'labels': labels}


def unpack_ped2(tmp_path, rng):
  archive = tmp_path / 'one'
  root = archive / 'UCSD_Anomaly_Dataset.v1p2' / 'UCSDped2'
  for split in ('Train', 'Test'):
    write_frames(root / split / f'{split}001', noise(rng, 4), '.tif')
  (root / 'Test' / 'UCSDped2.m').write_text('T{end+1}.gt_frame = [4:4];\n')
  return {'archive': archive}


@pytest.mark.parametrize('name, unpack', [('ucsd_ped2', unpack_ped2), ('avenue', unpack_avenue)])
def test_public_sets_are_found_where_tfds_unpacks_them(tmp_path, rng, name, unpack, monkeypatch):
  folders = unpack(tmp_path, rng)
  requested = {}

  def download_and_extract(manager, urls):
    requested.update(urls)
    return folders

  monkeypatch.setattr(tfds.download.DownloadManager, 'download_and_extract', download_and_extract)
  builder = builder_class(name)(data_dir=str(tmp_path / 'tfds'))
  builder.download_and_prepare()
  assert requested == builder.DOWNLOADS
  assert set(requested.values()) == set(builder.url_infos)
  assert [int(example['label']) for example in examples_of(builder, 'test')] == [0, 0, 0, 1]
