"""A video as readers yield it, and the conversion of images to grey frames."""

import dataclasses
import math
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.notes import note

_OPAQUE = 255
_JPEG = ('JPEG', 'MPO')
_HALF_OF_WHITE = 128
_BLACK_OF_JPEG = 16  # what compression may make of a black mask
_MAX_PIXELS = 2**26  # 67 million, as of 8192x8192
warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # `_MAX_PIXELS` is stricter

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
    labels_of_length: label set -> a function from N to the labels; N is known once the frames are
      decoded, which takes too long to do it twice. `with_length` turns them into `labels`.
    masks: gives an iterator over the pixel masks, uint8 0/1 [H, W], one per frame; or None.
    tracks: the abnormal regions; None if the set has none.
    read_tracks: a function that reads `tracks` where that takes long; `with_length` calls it.
    scene: name of the camera, '' if the set has only one.
    source: file or folder of the video, for error messages.
    faults: errors in its labels, to be reported with all other faults of the set.
  """

  name: str
  frames: Frames
  labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  labels_of_length: Mapping[str, Callable[[int], np.ndarray]] = dataclasses.field(
    default_factory=dict
  )
  masks: Frames | None = None
  tracks: tuple[Region, ...] | None = None
  read_tracks: Callable[[], tuple[Region, ...]] | None = None
  scene: str = ''
  source: str = ''
  faults: tuple[str, ...] = ()


def size_fault(width: int, height: int) -> str:
  """Return the fault of a frame's size; '' if there is none.

  The text is the end of a sentence that begins with the file.
  """
  if width * height <= _MAX_PIXELS:
    return ''
  return f'has {width}x{height} pixels, more than the {_MAX_PIXELS:,} of a frame: make it smaller'


def with_length(video: Video, num_frames: int) -> Video:
  """Return a video with all its labels and tracks, its number of frames known.

  Raises:
    UserError: if labels do not fit into the frames.
  """
  labels = dict(video.labels)
  for label_set, of_length in video.labels_of_length.items():
    labels[label_set] = of_length(num_frames)
  tracks = video.read_tracks() if video.read_tracks else video.tracks
  return dataclasses.replace(
    video, labels=labels, labels_of_length={}, tracks=tracks, read_tracks=None
  )


def masks_of_regions(
  regions: Iterable[Region], num_frames: int, size: tuple[int, int]
) -> Iterator[np.ndarray]:
  """Yield the mask of each frame, uint8 [H, W]: 1 inside its regions.

  Args:
    regions: in any order.
    num_frames: number of masks.
    size: (height, width) of the masks.
  """
  of_frame = {}
  for region in regions:
    of_frame.setdefault(region.frame, []).append(region)
  for frame in range(num_frames):
    mask = np.zeros(size, np.uint8)
    for region in of_frame.get(frame, ()):
      left, top = (max(0, math.floor(low)) for low in (region.x1, region.y1))
      right, bottom = (max(0, math.ceil(high)) for high in (region.x2, region.y2))
      mask[top:bottom, left:right] = 1
    yield mask


def read_grey(path: pathlib.Path) -> np.ndarray:
  """Read an image file as grey uint8 [H, W]: luma of ITU-R 601, by Pillow.

  It is turned as its Exif orientation says. Of 16 bits, the upper 8 are kept. Floats are from 0,
  black, to 1, white.

  Raises:
    UserError: if the file is not an image, has several, is too large, or has pixels of another
      range.
  """
  image = _read_image(path)
  if image.mode == 'F':
    return _from_floats(np.asarray(image), path)
  if image.mode.startswith('I'):
    return _from_integers(np.asarray(image), path)
  if image.has_transparency_data:
    image = image.convert('RGBA')
    if image.getchannel('A').getextrema()[0] < _OPAQUE:
      note('transparency, which is not used', path.parent)
  return np.asarray(image.convert('L'))


def read_mask(path: pathlib.Path) -> np.ndarray:
  """Read an image file as a mask, uint8 [H, W]: 1 where it is not black.

  Transparent pixels count as black. JPEG changes the pixels near edges, so those of a JPEG count
  from half of white on.

  Raises:
    UserError: also for a JPEG whose mask is darker than that.
  """
  image = _read_image(path)
  if image.format in _JPEG:
    return _mask_from_jpeg(np.asarray(image.convert('L')), path)
  if image.mode == 'F' or image.mode.startswith('I'):
    return (np.asarray(image) != 0).astype(np.uint8)
  # Not by luma, which is 0 for the darkest colours, such as 1 of 255 in blue.
  colours = np.asarray(image.convert('RGBA'))
  return (colours[..., :3].any(axis=-1) & (colours[..., 3] > 0)).astype(np.uint8)


def _mask_from_jpeg(pixels: np.ndarray, path: pathlib.Path) -> np.ndarray:
  mask = (pixels >= _HALF_OF_WHITE).astype(np.uint8)
  if pixels.max() > _BLACK_OF_JPEG and not mask.any():
    raise UserError(
      f'{path} is a JPEG mask whose brightest pixel is {pixels.max()} of 255, so that it is not '
      'certain what is marked: save masks as PNG, in black and white'
    )
  return mask


def _read_image(path: pathlib.Path) -> Image.Image:
  """Read an image file, turned upright, in its own mode."""
  try:
    with Image.open(path) as image:
      fault = size_fault(image.width, image.height)
      if fault:
        raise UserError(fault)
      if image.mode == 'LAB':  # which Pillow cannot make grey
        raise UserError('has pixels of the kind LAB; save it as grey or RGB')
      # Cameras add a preview to a JPEG; the image is the first one of such an MPO.
      if getattr(image, 'is_animated', False) and image.format != 'MPO':
        raise UserError('holds several images; write each one to a file of its own')
      image.load()
      upright = ImageOps.exif_transpose(image)
      upright.format = image.format
      return upright
  except UserError as error:
    raise UserError(f'{path} {error}') from None
  except UnidentifiedImageError:
    raise UserError(f'{path} is not an image of a kind that can be read') from None
  except Image.DecompressionBombError:
    raise UserError(
      f'{path} has more than the {_MAX_PIXELS:,} pixels of a frame: make it smaller'
    ) from None
  except Exception as error:  # Pillow raises errors of many types for damaged bytes
    reason = getattr(error, 'strerror', None) or error
    raise UserError(f'{path} is not a readable image: {reason}') from None


def _from_integers(pixels: np.ndarray, path: pathlib.Path) -> np.ndarray:
  """Return the upper 8 of 16 bits, which Pillow stores in 16 or 32."""
  if pixels.size and (pixels.min() < 0 or pixels.max() >= 2**16):
    raise UserError(
      f'{path} has pixels from {pixels.min()} to {pixels.max()}; '
      'integers must have 8 or 16 bits: rescale the images'
    )
  note('pixels of 16 bits, of which the upper 8 are kept', path.parent)
  return (pixels >> 8).astype(np.uint8)


def _from_floats(pixels: np.ndarray, path: pathlib.Path) -> np.ndarray:
  """Return floats of 0 to 1 as 0 to 255."""
  if not ((pixels >= 0) & (pixels <= 1)).all():  # not NaN either
    raise UserError(
      f'{path} has float pixels from {pixels.min():g} to {pixels.max():g}; '
      'floats must be from 0, black, to 1, white: rescale the images'
    )
  note('pixels are floats, scaled by 255', path.parent)
  return np.rint(pixels * 255).astype(np.uint8)


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
