"""Small imitations of the data sets, made of noise."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy as np
import scipy.io
from PIL import Image

from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache

SIZE = (12, 18)  # height, width
VIDEO_SIZE = (32, 48)  # a size that video encoders accept


def prepare_set(
  name: str, size: tuple[int, int], root: pathlib.Path, tmp_path: pathlib.Path, **changes: Any
) -> FrameCache:
  """Make the frame cache of a set in `tmp_path`.

  Args:
    name: of the set.
    size: height and width of the frames.
    root: folder of its videos.
    tmp_path: folder of the test.
    **changes: other arguments of `prepare_cache`.
  """
  height, width = size
  arguments = {'root': str(root), 'cache_dir': str(tmp_path / 'caches')}
  return prepare_cache(name, **(arguments | {'height': height, 'width': width} | changes))


def noise(rng: np.random.Generator, frames: int = 20, size: tuple[int, int] = SIZE) -> np.ndarray:
  """Return random frames, uint8 [N, H, W]."""
  return rng.integers(0, 256, (frames, *size), dtype=np.uint8)


def write_frames(folder: pathlib.Path, frames: Sequence[np.ndarray], suffix: str = '.png') -> None:
  """Write frames as images, numbered from 000."""
  folder.mkdir(parents=True, exist_ok=True)
  for index, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / f'{index:03d}{suffix}')


def write_ucsd(
  root: pathlib.Path,
  rng: np.random.Generator,
  *,
  script: str = 'UCSDped2.m',
  frames: int = 20,
  intervals: Sequence[str] = ('3:7', '1:4, 9:12'),
) -> pathlib.Path:
  """Write training and test clips with masks, and a label script.

  Args:
    root: folder, which is returned.
    rng: random numbers.
    script: file name of the label script.
    frames: frames per clip.
    intervals: abnormal frames of each test clip, 1-based, inclusive.
  """
  for clip in ('01', '02'):
    masks = 255 * rng.integers(0, 2, (frames, *SIZE), dtype=np.uint8)
    write_frames(root / 'training' / 'frames' / clip, noise(rng, frames))
    write_frames(root / 'testing' / 'frames' / clip, noise(rng, frames))
    write_frames(root / 'testing' / 'masks' / clip, masks)
  (root / 'training' / 'frames' / '.DS_Store').write_text('junk')
  (root / 'training' / 'frames' / '01' / '._000.png').write_text('junk')
  lines = [f'TestVideoFile{{end+1}}.gt_frame = [{clip}];' for clip in intervals]
  (root / script).write_text('\n'.join(['TestVideoFile = {};', *lines, '']))
  return root


def write_video(
  path: pathlib.Path, rng: np.random.Generator, frames: int = 20, shade: int | None = None
) -> pathlib.Path:
  """Write an MPEG-4 video of moving noise, or of one shade of grey; return its path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  height, width = VIDEO_SIZE
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('mpeg4', rate=25)
    stream.height = height
    stream.width = width
    stream.pix_fmt = 'yuv420p'
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if shade is not None:
      picture[:] = shade
    for index in range(frames):
      frame = av.VideoFrame.from_ndarray(np.roll(picture, index, axis=1), format='rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path


def write_vol_label(path: pathlib.Path, abnormal: Sequence[bool]) -> None:
  """Write Avenue's masks of one video: all pixels of a frame or none.

  Args:
    path: the file.
    abnormal: bool [N], the frames whose masks are full.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  masks = [np.full(VIDEO_SIZE, value, np.uint8) for value in abnormal]
  scipy.io.savemat(path, {'volLabel': cells_of(masks)})


def write_mat(path: pathlib.Path, intervals: Sequence[Sequence[tuple[int, int]]]) -> None:
  """Write the intervals of clips, 1-based, inclusive, in the community's format."""
  clips = [np.asarray(clip).T for clip in intervals]  # [2, N]
  scipy.io.savemat(path, {'gt': cells_of(clips)})


def cells_of(entries: Sequence[np.ndarray]) -> np.ndarray:
  """Return arrays of any shapes as an array of objects, which MATLAB calls a cell."""
  cells = np.empty((1, len(entries)), object)
  for index, entry in enumerate(entries):
    cells[0, index] = entry
  return cells


def damage(path: pathlib.Path, change: Callable[[bytes], bytes]) -> None:
  """Change the content of a file."""
  path.write_bytes(change(path.read_bytes()))
