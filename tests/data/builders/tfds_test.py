"""The TFDS builders, offline: what as_dataset gives is what the reader gave, in its order."""

import importlib

import numpy as np
import pytest

from tests.data.footage_helper import write_ucsd

pytestmark = pytest.mark.slow

CLASSES = {'synthetic': 'Synthetic', 'ucsd_ped1': 'UcsdPed1', 'ucsd_ped2': 'UcsdPed2'}


@pytest.mark.parametrize('name', CLASSES)
def test_records_equal_the_reader(tmp_path, rng, name):
  root, options = '', {'num_videos': 2, 'frames_per_video': 5, 'height': 16, 'width': 24}
  if name != 'synthetic':
    root, options = write_ucsd(tmp_path / 'footage', rng, script=f'UCSDped{name[-1]}.m'), {}
  module = importlib.import_module(f'a3dcae_jax.data.builders.{name}.{name}_dataset_builder')
  builder = getattr(module, CLASSES[name])(root=root, options=options, data_dir=str(tmp_path / 'tfds'))
  builder.download_and_prepare()
  for split in ('train', 'test'):
    examples = list(builder.as_dataset(split=split).as_numpy_iterator())
    expected = [(video, index, frame) for video in builder.videos(split) for index, frame in enumerate(video.frames())]
    assert [(e['video'].decode(), e['frame']) for e in examples] == [(video.name, index) for video, index, _ in expected]
    for example, (video, index, frame) in zip(examples, expected, strict=True):
      np.testing.assert_array_equal(example['image'][..., 0], frame)
      assert example['label'] == (video.labels['official'][index] if split == 'test' else -1)
    if split == 'test':
      masks = [mask for video in builder.videos(split) for mask in video.masks()]
      np.testing.assert_array_equal([example['mask'][..., 0] for example in examples], 255 * np.asarray(masks))
