"""The base class of the TFDS builders: one example per frame, in order."""

import importlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from a3dcae_jax.data.builders import default_label_set
from a3dcae_jax.data.video import Video, with_length


class ReaderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A TFDS builder over `builders.NAME.reader`.

  Args:
    root: folder of the videos, used as it is. With '' the archives in `DOWNLOADS` are downloaded
      and compared with `checksums.tsv`. A set that is not public is then looked for in tfds's
      manual folder, `download_config.manual_dir`.
    options: options of the data set, arguments of the reader's `videos`.
    **kwargs: arguments of tfds.

  Attributes:
    HAS_MASKS: whether the set has pixel masks.
    DOWNLOADS: name -> URL; all of them are in checksums.tsv.
    DESCRIPTION: one or two sentences on the set.
    HOMEPAGE: web page of its authors.
  """

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'Frames, labels and masks as the reader gives them.'}
  HAS_MASKS = False
  DOWNLOADS: Mapping[str, str] = {}
  DESCRIPTION = ''
  HOMEPAGE = ''

  def __init__(
    self,
    *,
    root: str | pathlib.Path = '',
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
  ):
    self._root = str(root)
    self._options = dict(options or {})
    self.reader = importlib.import_module(f'a3dcae_jax.data.builders.{self.name}.reader')
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    features = {
      'video': tfds.features.Text(),
      'frame': np.int64,
      'image': tfds.features.Image(shape=(None, None, 1), encoding_format='png'),
      'label': np.int64,  # 1 abnormal, 0 normal, -1 unknown
    }
    if self.HAS_MASKS:
      # 0 or 255; all 0 if a frame has no mask.
      features['mask'] = tfds.features.Image(shape=(None, None, 1), encoding_format='png')
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.DESCRIPTION,
      homepage=self.HOMEPAGE,
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
    )

  def videos(self, split: str, root: str = '', **options: Any) -> list[Video]:
    """Return the reader's videos of 'train' or 'test', as for the frame cache."""
    return self.reader.videos(root or self._root, split, **(self._options | options))

  def unpacked(self, folders: Mapping[str, pathlib.Path]) -> tuple[str, dict[str, Any]]:
    """Return where the downloads are: (root, further options of the reader).

    Args:
      folders: name of the download -> folder that it was unpacked to.
    """
    return str(next(iter(folders.values()))), {}

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
    root = self._root
    options = {}
    if not root and self.DOWNLOADS:
      root, options = self.unpacked(dl_manager.download_and_extract(self.DOWNLOADS))
    elif not root and self.MANUAL_DOWNLOAD_INSTRUCTIONS:
      root = str(dl_manager.manual_dir)
    return {split: self._generate_examples(split, root, options) for split in ('train', 'test')}

  def _generate_examples(
    self, split: str, root: str, options: Mapping[str, Any]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    label_set = default_label_set(self.reader, root)
    for video in self.videos(split, root, **options):
      if video.labels_of_length:  # examples are yielded while the frames are decoded
        video = with_length(video, sum(1 for _ in video.frames()))
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
          mask = np.zeros_like(frame) if masks is None else next(masks)
          example['mask'] = (mask[..., None] * 255).astype(np.uint8)
        yield f'{video.name}/{index:06d}', example
