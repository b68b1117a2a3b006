"""One video as every reader yields it, and how pictures become grey frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from a3dcae_jax.common.errors import UserError


class Region(NamedTuple):
  """One abnormal region: pixels x1 <= x < x2, y1 <= y < y2 of 0-based `frame`, in the footage's own resolution; `track` joins frames."""

  track: int
  frame: int
  x1: float
  y1: float
  x2: float
  y2: float


@dataclass(frozen=True)
class Video:
  """A video of a split, read on demand.

  Attributes:
    name: unique in its split. frames: call it for an iterator over grey uint8 frames [H, W], in order.
    labels: label set -> uint8 [N], 1 = abnormal; empty where there are no labels.
    masks: call it for an iterator over uint8 0/1 masks [H, W], one a frame; None where there are none.
    tracks: abnormal regions; None where there are none. scene: which camera. source: the file or folder, for messages.
    faults: what is wrong with its labels, said together with all other faults.
  """

  name: str
  frames: Callable[[], Iterator[np.ndarray]]
  labels: dict = field(default_factory=dict)
  masks: Callable[[], Iterator[np.ndarray]] | None = None
  tracks: tuple | None = None
  scene: str = ''
  source: str = ''
  faults: tuple = ()


def read_grey(path):
  """An image file as grey uint8 [H, W] (ITU-R 601 luma, as Pillow computes it)."""
  try:
    with Image.open(path) as image:
      return np.asarray(image.convert('L'))
  except UnidentifiedImageError:
    raise UserError(f'{path} is no image') from None
  except OSError as error:
    raise UserError(f'{path} is no readable image: {error.strerror or error}') from None


def read_video(path):
  """Iterates over a video file's frames as grey uint8 [H, W]: FFmpeg's luma, by PyAV, whatever the container.

  Frames are counted by decoding: headers are often wrong.

  Raises: UserError naming the frame where decoding stops or that is damaged (after which frames may be lost without a word), or a file
  that is cut off or no video.
  """
  import av  # here, so that a machine that trains from a frame cache needs no FFmpeg

  _check_whole(path)
  count = 0
  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise UserError(f'{path} has no video stream')
      container.streams.video[0].thread_type = 'AUTO'
      for frame in container.decode(video=0):
        if frame.is_corrupt:
          raise UserError(
            f'{path} is damaged at frame {count}, frames may be lost there; to take it all the same, re-encode it'
          )
        yield frame.to_ndarray(format='gray')
        count += 1
  except (av.FFmpegError, OSError) as error:
    raise UserError(f'{path} stops decoding at frame {count}: {error.strerror or error}') from None
  if not count:
    raise UserError(f'{path} has no frames')


def _check_whole(path):
  """An AVI file says in its first bytes how long it is; FFmpeg plays a shorter one to its end without a word."""
  with open(path, 'rb') as file:
    head = file.read(12)
    file.seek(0, 2)
    size = file.tell()
  if (
    head[:4] == b'RIFF'
    and head[8:] == b'AVI '
    and int.from_bytes(head[4:8], 'little') + 8 > size + 1
  ):
    raise UserError(
      f'{path} is cut off: it has {size} of {int.from_bytes(head[4:8], "little") + 8} bytes'
    )


def resize(frame, height, width):
  """A grey uint8 frame [H, W] at another size, antialiased bilinear: a triangle over the area it covers."""
  if frame.shape == (height, width):
    return frame
  return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask, height, width):
  """A 0/1 mask [H, W] at another size: 1 where at least half of the area is."""
  return (resize((mask > 0).astype(np.uint8) * 255, height, width) >= 128).astype(np.uint8)
