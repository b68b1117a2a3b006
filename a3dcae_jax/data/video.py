"""A video as readers yield it, and the conversion of images to grey frames."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from a3dcae_jax.common.errors import UserError

Frames = Callable[[], Iterator[np.ndarray]]  # each call gives a new iterator over uint8 [H, W]


class Region(NamedTuple):
  """An abnormal region of one frame: the pixels x1 <= x < x2, y1 <= y < y2.

  Attributes:
    track: number of the object; regions of the same object have the same number.
    frame: index of the frame in its video.
    x1, y1, x2, y2: in pixels of the video's own resolution.
  """

  track: int
  frame: int
  x1: float
  y1: float
  x2: float
  y2: float


@dataclasses.dataclass(frozen=True)
class Video:
  """A video of a data set. Its frames are read on demand.

  Attributes:
    name: unique in its split.
    frames: gives an iterator over the frames, grey uint8 [H, W], in order.
    labels: label set -> uint8 [N], 1 = abnormal; empty if the video has no labels.
    masks: gives an iterator over the pixel masks, uint8 0/1 [H, W], one per frame; or None.
    tracks: the abnormal regions; None if the set has none.
    scene: name of the camera, '' if the set has only one.
    source: file or folder of the video, for error messages.
    faults: errors in its labels, to be reported with all other faults of the set.
  """

  name: str
  frames: Frames
  labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  masks: Frames | None = None
  tracks: tuple[Region, ...] | None = None
  scene: str = ''
  source: str = ''
  faults: tuple[str, ...] = ()


def read_grey(path: pathlib.Path) -> np.ndarray:
  """Read an image file as grey uint8 [H, W]: luma of ITU-R 601, by Pillow."""
  try:
    with Image.open(path) as image:
      return np.asarray(image.convert('L'))
  except UnidentifiedImageError:
    raise UserError(f'{path} is not an image') from None
  except OSError as error:
    raise UserError(f'{path} is not a readable image: {error.strerror or error}') from None


def read_mask(path: pathlib.Path) -> np.ndarray:
  """Read an image file as a mask, uint8 [H, W]: 1 where it is not black."""
  return (read_grey(path) > 0).astype(np.uint8)


def read_video(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Yield the frames of a video file, grey uint8 [H, W].

  Any container that FFmpeg reads will do. Grey is FFmpeg's luma. Frames are counted by decoding,
  since headers are often wrong.

  Raises:
    UserError: if the file is not a video, is cut off, or does not decode to its end. A damaged
      frame is an error, too: frames after it may be missing without notice.
  """
  import av  # imported here: training from a frame cache needs no FFmpeg

  _check_avi_size(path)
  count = 0
  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise UserError(f'{path} has no video stream')
      container.streams.video[0].thread_type = 'AUTO'
      for frame in container.decode(video=0):
        if frame.is_corrupt:
          raise UserError(
            f'{path} is damaged at frame {count}, frames may be missing there; '
            'to use it nevertheless, re-encode it'
          )
        yield frame.to_ndarray(format='gray')
        count += 1
  except (av.FFmpegError, OSError) as error:
    raise UserError(f'{path} stops decoding at frame {count}: {error.strerror or error}') from None
  if not count:
    raise UserError(f'{path} has no frames')


def _check_avi_size(path: pathlib.Path) -> None:
  """Check that an AVI file has the size that its header states.

  FFmpeg plays a shorter file to its end without an error.
  """
  with open(path, 'rb') as file:
    header = file.read(12)
    file.seek(0, 2)
    size = file.tell()
  if header[:4] != b'RIFF' or header[8:] != b'AVI ':
    return
  stated = int.from_bytes(header[4:8], 'little') + 8
  if stated > size + 1:
    raise UserError(f'{path} is cut off: it has {size} of {stated} bytes')


def resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resize a grey uint8 frame [H, W] with an antialiased bilinear filter.

  When the image shrinks, the filter is a triangle over the area that a pixel covers.
  """
  if frame.shape == (height, width):
    return frame
  image = Image.fromarray(frame)
  return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resize a 0/1 mask [H, W]: 1 where it covers at least half of a pixel."""
  image = (mask > 0).astype(np.uint8) * 255
  return (resize(image, height, width) >= 128).astype(np.uint8)
