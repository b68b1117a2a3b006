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


def write_ubnormal(root: pathlib.Path, rng: np.random.Generator) -> None:
  """Write a normal training video, and a normal and an abnormal test video of 8 frames.

  In the abnormal one, objects 1 and 2 are at the left and at the right in all maps. Object 1 is
  abnormal in frames 2 to 4, object 2 in 4 to 5. A validation video is there, too.
  """
  lists = {
    'normal_training': ['normal_scene_1_scenario_1'],
    'normal_test': ['normal_scene_2_scenario_1'],
    'abnormal_test': ['abnormal_scene_2_scenario_2'],
    'normal_validation': ['normal_scene_1_scenario_3'],
  }
  (root / 'scripts').mkdir(parents=True)
  for kind, names in lists.items():
    (root / 'scripts' / f'{kind}_video_names.txt').write_text('\n'.join(names) + '\n')
    for name in names:
      write_video(root / f'Scene{name.split("_")[2]}' / f'{name}.mp4', rng, frames=8)
  objects = np.zeros(VIDEO_SIZE, np.uint8)
  objects[4:12, 2:10] = 1
  objects[8:24, 30:40] = 2
  folder = root / 'Scene2' / 'abnormal_scene_2_scenario_2_annotations'
  folder.mkdir()
  for frame in range(8):
    Image.fromarray(objects).save(folder / f'abnormal_scene_2_scenario_2_{frame:04d}_gt.png')
  (folder / 'abnormal_scene_2_scenario_2_tracks.txt').write_text('1,2,4\n2,4,5\n')


def write_street_scene(root: pathlib.Path, rng: np.random.Generator) -> None:
  """Write a training video, and two test videos of 6 frames with two tracks in the first."""
  for name in ('Train/Train001', 'Test/Test001', 'Test/Test002'):
    folder = root / name
    folder.mkdir(parents=True)
    for number, frame in enumerate(noise(rng, 6, VIDEO_SIZE), start=1):
      Image.fromarray(frame).save(folder / f'{number:05d}.jpg')
  rows = ['00002.jpg 0 10 8 8 4', '00003.jpg 0 12 8 8 4', '00003.jpg 1 46 30.5 10 5', '']
  (root / 'Test' / 'Test001' / 'Test001_gt.txt').write_text('\n'.join(rows))
  (root / 'Test' / 'Test002' / 'Test002_gt.txt').write_text('')


def write_nwpu_campus(root: pathlib.Path, rng: np.random.Generator) -> None:
  """Write a training video and two test videos of 6 frames."""
  write_video(root / 'videos' / 'Train' / 'D001_01.avi', rng, frames=6)
  write_video(root / 'videos' / 'Test' / 'D001_02.avi', rng, frames=6)
  write_video(root / 'videos' / 'Test' / 'D002_01.avi', rng, frames=6)
  (root / 'groundtruth').mkdir()
  labels = {'D001_02': np.arange(6) > 3, 'D002_01': np.zeros(6)}
  np.savez(root / 'groundtruth' / 'NWPU_Campus_gt.npz', **labels)


def write_iitb_corridor(root: pathlib.Path, rng: np.random.Generator) -> None:
  """Write a training video and a test video of 6 frames."""
  write_video(root / 'Train_IITB-Corridor' / 'Train' / '000001' / '000001.avi', rng, frames=6)
  test = root / 'Test_IITB-Corridor'
  write_video(test / 'Test' / '000209' / '000209.avi', rng, frames=6)
  labels = test / 'Test_Annotation' / 'Annotation' / '000209' / '000209.npy'
  labels.parent.mkdir(parents=True)
  np.save(labels, (np.arange(6) == 2).astype(float))


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
