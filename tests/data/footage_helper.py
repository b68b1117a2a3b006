"""Dummy footage in the sets' layouts, written by the tests."""

import av
import numpy as np
import scipy.io
from PIL import Image

SIZE = (12, 18)  # height, width
SHAPE = (32, 48)  # what video encoders take


def write_frames(folder, frames, suffix='.png'):
  """Frames as numbered images from 000 on."""
  folder.mkdir(parents=True, exist_ok=True)
  for index, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / f'{index:03d}{suffix}')


def write_ucsd(root, rng, *, script='UCSDped2.m', frames=20, intervals=('3:7', '1:4, 9:12')):
  """Two training and two test clips with masks and the authors' kind of label script; returns the folder."""
  for clip in ('01', '02'):
    write_frames(
      root / 'training' / 'frames' / clip, rng.integers(0, 256, (frames, *SIZE), dtype=np.uint8)
    )
    write_frames(
      root / 'testing' / 'frames' / clip, rng.integers(0, 256, (frames, *SIZE), dtype=np.uint8)
    )
    write_frames(
      root / 'testing' / 'masks' / clip, 255 * rng.integers(0, 2, (frames, *SIZE), dtype=np.uint8)
    )
  (root / 'training' / 'frames' / '.DS_Store').write_text('junk')
  (root / 'training' / 'frames' / '01' / '._000.png').write_text('junk')
  lines = [
    'TestVideoFile = {};',
    *(f'TestVideoFile{{end+1}}.gt_frame = [{clip}];' for clip in intervals),
  ]
  (root / script).write_text('\n'.join(lines) + '\n')
  return root


def write_video(path, rng, frames=20, shade=None):
  """An MPEG-4 video of noise in slow motion."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('mpeg4', rate=25)
    stream.width, stream.height, stream.pix_fmt = SHAPE[1], SHAPE[0], 'yuv420p'
    base = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    for index in range(frames):
      picture = (
        np.full((*SHAPE, 3), shade, np.uint8) if shade is not None else np.roll(base, index, 1)
      )
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
    container.mux(stream.encode())
  return path


def write_vol_label(path, abnormal):
  """Avenue's masks of one video: whole frames, where `abnormal` (bool [N]) says so."""
  path.parent.mkdir(parents=True, exist_ok=True)
  cells = np.empty((1, len(abnormal)), object)
  for index, value in enumerate(abnormal):
    cells[0, index] = np.full(SHAPE, value, np.uint8)
  scipy.io.savemat(path, {'volLabel': cells})
