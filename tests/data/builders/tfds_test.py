"""The TFDS builders, offline: what as_dataset gives is what the reader gave, in its order; public sets come through tfds's downloads."""

import importlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from a3dcae_jax.data.builders import NAMES
from tests.data.footage_helper import write_frames, write_ucsd, write_video, write_vol_label

pytestmark = pytest.mark.slow


def noise(rng, frames=4):
  return rng.integers(0, 256, (frames, 12, 18), dtype=np.uint8)


def write_avenue(root, rng):
  write_video(root / 'training_videos' / '01.avi', rng, frames=3)
  write_video(root / 'testing_videos' / '08.avi', rng, frames=4)
  write_vol_label(
    root / 'ground_truth_demo' / 'testing_label_mask' / '8_label.mat', np.arange(4) > 2
  )


def write_shanghaitech(root, rng):
  write_frames(root / 'training' / 'frames' / '01_001', noise(rng))
  write_frames(root / 'testing' / 'frames' / '02_0014', noise(rng))
  for folder, array in (
    ('test_frame_mask', np.arange(4) > 1),
    ('test_pixel_mask', (np.arange(4) > 1)[:, None, None] * np.ones((1, 12, 18), np.uint8)),
  ):
    (root / 'testing' / folder).mkdir()
    np.save(root / 'testing' / folder / '02_0014.npy', array)


def write_subway(root, rng):
  write_frames(root / 'gate', noise(rng, 9))
  (root / 'truth.csv').write_text('video,start,end\ngate,6,8\n')


def write_folder(root, rng):
  write_frames(root / 'training' / 'monday', noise(rng))
  write_frames(root / 'testing' / 'tuesday', noise(rng))


MADE = {
  'ucsd_ped1': lambda root, rng: write_ucsd(root, rng, script='UCSDped1.m'),
  'ucsd_ped2': write_ucsd,
  'avenue': write_avenue,
  'shanghaitech': write_shanghaitech,
  'subway_entrance': write_subway,
  'subway_exit': write_subway,
  'video_folder': write_folder,
  'synthetic': lambda root, rng: None,
}


def builder_of(name, **arguments):
  module = importlib.import_module(f'a3dcae_jax.data.builders.{name}.{name}_dataset_builder')
  made = next(
    value
    for value in vars(module).values()
    if isinstance(value, type) and getattr(value, 'name', None) == name
  )
  return made(**arguments)


@pytest.mark.parametrize('name', NAMES)
def test_records_equal_the_reader(tmp_path, rng, name):
  root = tmp_path / 'footage'
  root.mkdir()
  MADE[name](root, rng)
  options = {'synthetic': {'num_videos': 2, 'frames_per_video': 5, 'height': 16, 'width': 24}}.get(
    name, {}
  )
  if name.startswith('subway'):
    options = {'train_frames': 4, 'test_start': 5, 'labels': str(root / 'truth.csv')}
  builder = builder_of(name, root=root, options=options, data_dir=str(tmp_path / 'tfds'))
  builder.download_and_prepare()
  for split in ('train', 'test'):
    examples = list(builder.as_dataset(split=split).as_numpy_iterator())
    videos = builder.videos(split)
    expected = [
      (video, index, frame) for video in videos for index, frame in enumerate(video.frames())
    ]
    assert expected and [(e['video'].decode(), e['frame']) for e in examples] == [
      (video.name, index) for video, index, _ in expected
    ]
    for example, (video, index, frame) in zip(examples, expected, strict=True):
      np.testing.assert_array_equal(example['image'][..., 0], frame)
      labels = video.labels.get(builder.reader.LABEL_SETS[0])
      assert example['label'] == (-1 if labels is None else labels[index])
    if split == 'test' and videos[0].masks:
      masks = [mask for video in videos for mask in video.masks()]
      np.testing.assert_array_equal(
        [example['mask'][..., 0] for example in examples], 255 * np.asarray(masks)
      )


@pytest.mark.parametrize('name', ['ucsd_ped2', 'avenue'])
def test_public_sets_come_from_where_tfds_unpacks_them(tmp_path, rng, name, monkeypatch):
  """tfds gives each archive a folder of its own; the reader finds the set in them."""
  asked = {}
  if name == 'avenue':
    write_avenue(tmp_path / 'whole', rng)
    (tmp_path / 'one' / 'Avenue Dataset').mkdir(parents=True)
    for part in ('training_videos', 'testing_videos'):
      (tmp_path / 'whole' / part).rename(tmp_path / 'one' / 'Avenue Dataset' / part)
    (tmp_path / 'two').mkdir()
    (tmp_path / 'whole' / 'ground_truth_demo').rename(tmp_path / 'two' / 'ground_truth_demo')
    folders = {'videos': tmp_path / 'one', 'labels': tmp_path / 'two'}
  else:
    for split in ('Train', 'Test'):
      write_frames(
        tmp_path / 'one' / 'UCSD_Anomaly_Dataset.v1p2' / 'UCSDped2' / split / f'{split}001',
        noise(rng),
        '.tif',
      )
    (
      tmp_path / 'one' / 'UCSD_Anomaly_Dataset.v1p2' / 'UCSDped2' / 'Test' / 'UCSDped2.m'
    ).write_text('T{end+1}.gt_frame = [4:4];\n')
    folders = {'archive': tmp_path / 'one'}
  monkeypatch.setattr(
    tfds.download.DownloadManager,
    'download_and_extract',
    lambda _, urls: asked.update(urls) or folders,
  )
  builder = builder_of(name, data_dir=str(tmp_path / 'tfds'))
  builder.download_and_prepare()
  assert asked == builder.DOWNLOADS and set(asked.values()) == set(builder.url_infos)
  labels = [
    int(example['label']) for example in builder.as_dataset(split='test').as_numpy_iterator()
  ]
  assert labels == [0, 0, 0, 1]
