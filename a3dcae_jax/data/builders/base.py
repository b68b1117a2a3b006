"""What every TFDS builder here shares: one example a frame, in the order of the footage, from the set's reader."""

import importlib
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from a3dcae_jax.data.builders import default_label_set


class FootageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A TFDS builder over `builders.NAME.reader`.

  Args:
    root: folder of the footage, used as it is. '' fetches `DOWNLOADS` and compares them with `checksums.tsv`; for a set that is not
      public it takes tfds's manual folder (`download_config.manual_dir`).
    options: keyword arguments of the reader's `videos`. Others are tfds's own.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Frames, labels and masks as the reader gives them.'}
  HAS_MASKS = False
  DOWNLOADS = {}  # name -> URL, all of them in the folder's checksums.tsv
  DESCRIPTION = ''
  HOMEPAGE = ''

  def __init__(self, *, root='', options=None, **kwargs):
    self._root, self._options = str(root), dict(options or {})
    self.reader = importlib.import_module(f'a3dcae_jax.data.builders.{self.name}.reader')
    super().__init__(**kwargs)

  def _info(self):
    features = {
      'video': tfds.features.Text(),
      'frame': np.int64,
      'image': tfds.features.Image(shape=(None, None, 1), encoding_format='png'),
      'label': np.int64,  # 1 abnormal, 0 normal, -1 not known
    }
    if self.HAS_MASKS:
      features['mask'] = tfds.features.Image(
        shape=(None, None, 1), encoding_format='png'
      )  # 0 or 255; all 0 where there is none
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.DESCRIPTION,
      homepage=self.HOMEPAGE,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def videos(self, split, root='', **options):
    """The reader's videos of 'train' or 'test': what the frame cache is written from as well."""
    return self.reader.videos(root or self._root, split, **(self._options | options))

  def _split_generators(self, dl_manager):
    root, options = self._root, {}
    if not root and self.DOWNLOADS:
      root, options = self.unpacked(dl_manager.download_and_extract(self.DOWNLOADS))
    elif not root and self.MANUAL_DOWNLOAD_INSTRUCTIONS:
      root = str(dl_manager.manual_dir)
    return {split: self._generate_examples(split, root, options) for split in ('train', 'test')}

  def unpacked(self, folders):
    """(root, further options of the reader) from the folders of the unpacked downloads: name -> path."""
    return str(pathlib.Path(next(iter(folders.values())))), {}

  def _generate_examples(self, split, root, options):
    label_set = default_label_set(self.reader, root)
    for video in self.videos(split, root, **options):
      labels = video.labels.get(label_set)
      masks = video.masks() if video.masks else None
      for index, frame in enumerate(video.frames()):
        example = {
          'video': video.name,
          'frame': index,
          'image': frame[..., None],
          'label': -1 if labels is None else int(labels[index]),
        }
        if self.HAS_MASKS:
          example['mask'] = (
            (next(masks)[..., None] * 255).astype(np.uint8)
            if masks
            else np.zeros((*frame.shape, 1), np.uint8)
          )
        yield f'{video.name}/{index:06d}', example
