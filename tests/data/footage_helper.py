"""Dummy footage in the community layout, written by the tests."""

import numpy as np
from PIL import Image

SIZE = (12, 18)  # height, width


def write_frames(folder, frames, suffix='.png'):
  """Frames as numbered images from 000 on."""
  folder.mkdir(parents=True, exist_ok=True)
  for index, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / f'{index:03d}{suffix}')


def write_ucsd(root, rng, *, script='UCSDped2.m', frames=20, intervals=('3:7', '1:4, 9:12')):
  """Two training and two test clips with masks and the authors' kind of label script; returns the folder."""
  for clip in ('01', '02'):
    write_frames(root / 'training' / 'frames' / clip, rng.integers(0, 256, (frames, *SIZE), dtype=np.uint8))
    write_frames(root / 'testing' / 'frames' / clip, rng.integers(0, 256, (frames, *SIZE), dtype=np.uint8))
    write_frames(root / 'testing' / 'masks' / clip, 255 * rng.integers(0, 2, (frames, *SIZE), dtype=np.uint8))
  (root / 'training' / 'frames' / '.DS_Store').write_text('junk')
  (root / 'training' / 'frames' / '01' / '._000.png').write_text('junk')
  lines = ['TestVideoFile = {};', *(f'TestVideoFile{{end+1}}.gt_frame = [{clip}];' for clip in intervals)]
  (root / script).write_text('\n'.join(lines) + '\n')
  return root
