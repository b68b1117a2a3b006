"""Pictures of whole frames for the report: input, reconstruction, error."""

import dataclasses

import numpy as np

from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import window_at
from a3dcae_jax.evaluation.report_data import Frame, Pictures
from a3dcae_jax.evaluation.scorer import Scorer
from a3dcae_jax.models.inputs import scale_rows
from a3dcae_jax.report.contents import Strip


@dataclasses.dataclass(frozen=True)
class FramePictures(Pictures):
  """Pictures from the windows of a scorer.

  Attributes:
    scorer: computes errors, and reconstructions if it has any.
    split: the test split.
    stride: stride of the windows from which frames are shown.
    ids: int32 [V], mean image id of each video.
    input_means: float32 [S, H, W], mean images of the networks' input.
    row_scale: reference speed of the top and the bottom row.
  """

  scorer: Scorer
  split: Split
  stride: int
  ids: np.ndarray
  input_means: np.ndarray
  row_scale: tuple[float, float]

  def strip(self, frame: Frame, score: float) -> Strip:
    """See `Pictures`."""
    video, index = frame
    clip, ids, position = self._window_of(frame)
    name = self.split.videos[video].name
    caption = f'video {name}, frame {index}, score {score:.3g}'
    explained = self.scorer.explain(clip, ids)
    if explained is None:
      maps = np.asarray(self.scorer.errors(clip, ids)[1])
      return Strip(caption, clip[0, position] / np.float32(255), None, maps[0, position])
    real, reconstruction = (np.asarray(array)[0, position, :, :, 0] for array in explained)
    mean_image = scale_rows(self.input_means[ids[0]], self.row_scale)
    error = np.square(real - reconstruction)
    return Strip(caption, real + mean_image, reconstruction + mean_image, error)

  def feature_maps(self, frame: Frame) -> dict[str, tuple[str, np.ndarray]]:
    """Return the channel of Conv1 and of Conv2 that varies most (Fig. 5)."""
    clip, ids, position = self._window_of(frame)
    maps = self.scorer.feature_maps(clip, ids)
    shown = {}
    for layer in ('conv1', 'conv2'):
      if f'{layer}_map' not in maps:
        continue
      values = np.asarray(maps[f'{layer}_map'], np.float32)[0]
      response = np.abs(values[position * values.shape[0] // clip.shape[1]])
      channel = int(response.std((0, 1)).argmax())
      shown[layer] = (f'{layer}, channel {channel}', response[..., channel])
    return shown

  def _window_of(self, frame):
    """Return the back-to-back window around a frame.

    Returns:
      The clip [1, T, H, W], its mean image id [1], and the position of the frame in it.
    """
    video, index = frame
    rows, position = window_at(
      self.split.videos[video], index, window=self.scorer.window, stride=self.stride
    )
    clip = np.asarray(self.split.frames[rows])[None]
    return clip, self.ids[video : video + 1], position
