"""The bundle of objects, with a program of a few lines: its results and its errors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import object_digest
from a3dcae_jax.serving.artefact import export_object_program
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.object_bundle import ObjectBundle, write_object_bundle
from a3dcae_jax.serving.object_statistics import (
  GRID,
  LocalStatistics,
  ObjectStatistics,
  UsualHeight,
)

WINDOW = 4
HEIGHT = 8
WIDTH = 10
WEIGHTS = {'params/scale': np.float32([2.0])}
CALIBRATION = {
  'weights': {'appearance': 0.0, 'motion': 0.0, 'speed': 2.0},
  'mean': 3.0,
  'std': 0.5,
  'smoothing_frames': 0.0,
  'smoothing_mode': 'centred',
  'threshold': 4.0,
  'step_frames': 1,
}
BOX = (1, 2, 5, 6)


def program(weights, frames, rows, corners):
  """The speed is the weighted grey of the clip's last frame, plus x1."""
  last = frames[rows[:, -1], 0, 0].astype(jnp.float32)
  speed = last * weights['params/scale'] + corners[:, 0]
  still = jnp.ones_like(speed)
  return jnp.stack([still, still, still, still, speed], axis=1)


def statistics():
  """Speeds have mean 1 and deviation 0.5 at the top, 2 at the bottom."""
  positions = np.linspace(0, 1, GRID)
  flat = LocalStatistics(positions, np.zeros(GRID), np.ones(GRID))
  speeds = LocalStatistics(positions, np.ones(GRID), np.linspace(0.5, 2, GRID))
  everywhere = UsualHeight(1.0, 0.0, 0.02)
  return ObjectStatistics(everywhere, np.zeros(2), (flat, flat), (flat, flat, speeds))


@pytest.fixture(scope='module')
def model():
  sizes = {'window': WINDOW, 'height': HEIGHT, 'width': WIDTH}
  return export_object_program(program, lambda *given: program(*given), WEIGHTS, **sizes)


def write(folder, model, **changes):
  arguments = {
    'model': model,
    'weights': WEIGHTS,
    'statistics': statistics(),
    'details': {'calibration': CALIBRATION},
    'extra_files': {'note.txt': b'kept'},
  }
  write_object_bundle(folder, **arguments | changes)
  return folder


@pytest.fixture
def folder(tmp_path, model):
  return write(tmp_path / 'b', model)


def video(count=6):
  """Return a video of rising grey."""
  return np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((HEIGHT, WIDTH), np.uint8)


def test_the_manifest_has_the_kind(folder):
  bundle = load_bundle(folder)
  assert isinstance(bundle, ObjectBundle)
  assert bundle.manifest['kind'] == 'objects'
  assert (bundle.window, bundle.height, bundle.width) == (WINDOW, HEIGHT, WIDTH)
  assert bundle.threshold == 4.0
  assert bundle.extra_files == {'note.txt': b'kept'}


@pytest.mark.parametrize('count, objects', [(1, 1), (9, 3)])
def test_any_number_of_frames_and_objects_is_measured_by_the_program(folder, rng, count, objects):
  frames = rng.integers(0, 256, (count, HEIGHT, WIDTH), dtype=np.uint8)
  rows = rng.integers(0, count, (objects, WINDOW), dtype=np.int32)
  corners = np.tile(np.float32(BOX), (objects, 1))
  got = load_bundle(folder)(frames, rows, corners)
  np.testing.assert_array_equal(got, jax.jit(program)(WEIGHTS, frames, rows, corners))


def test_scores_of_a_video_by_hand(folder):
  """The clip of frame 2 ends with frame 3, that of frame 5 is cut off at frame 5."""
  frame = np.asarray([5, 2, 2])
  corners = [[1, 0, 5, 8], [1, 0, 5, 4], [0, 0, 1, 1]]
  scores = load_bundle(folder).score_video(video(), (frame, corners))
  speeds = np.asarray([2 * 5 + 1, 2 * 3 + 1, 2 * 3 + 0])
  deviations = 0.5 + 1.5 * np.asarray([1, 0.5, 0.125])
  errors = 2 * (speeds - 1) / deviations
  worst = np.zeros(6)
  worst[5] = errors[0]
  worst[2] = max(errors[1:])
  np.testing.assert_allclose(scores, (worst - 3.0) / 0.5, rtol=1e-6)
  assert scores.dtype == np.float64


def test_scores_between_scored_frames_are_interpolated(tmp_path, model):
  details = {'calibration': CALIBRATION | {'step_frames': 2}}
  bundle = load_bundle(write(tmp_path / 's', model, details=details))
  frame = np.asarray([0, 2, 3, 4])  # frame 3 is not scored
  corners = np.tile(np.float32(BOX), (4, 1))
  scores = bundle.score_video(video(), (frame, corners))
  every = load_bundle(write(tmp_path / 'p', model)).score_video(video(), (frame, corners))
  expected = every.copy()
  expected[[1, 3, 5]] = (every[0] + every[2]) / 2, (every[2] + every[4]) / 2, every[4]
  np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize('boxes', [([], []), (np.zeros(0, np.int32), np.zeros((0, 4)))])
def test_a_video_without_objects_has_the_least_score(folder, boxes):
  scores = load_bundle(folder).score_video(video(), boxes)
  np.testing.assert_array_equal(scores, [-6.0] * 6)


def test_many_objects_are_measured_in_batches_of_one_size(folder):
  frame = np.repeat(np.arange(6), 30)
  corners = np.tile(np.float32(BOX), (180, 1))
  bundle = load_bundle(folder)
  once = bundle.score_video(video(), (np.arange(6), corners[:6]))
  np.testing.assert_array_equal(bundle.score_video(video(), (frame, corners)), once)


def test_scores_are_smoothed(tmp_path, model):
  details = {'calibration': CALIBRATION | {'smoothing_frames': 1.0}}
  smoothed = load_bundle(write(tmp_path / 's', model, details=details))
  plain = load_bundle(write(tmp_path / 'p', model))
  boxes = (np.asarray([3]), np.float32([BOX]))
  assert smoothed.score_video(video(), boxes)[2] > plain.score_video(video(), boxes)[2]


@pytest.mark.parametrize(
  'frames, message',
  [
    (np.zeros((6, HEIGHT, 7), np.uint8), r'frames are uint8 \[6, 8, 7\]; .* uint8 \[N, 8, 10\]$'),
    (np.zeros((6, HEIGHT, WIDTH), np.float32), r'frames are float32 \[6, 8, 10\]'),
    (np.zeros((HEIGHT, WIDTH), np.uint8), r'frames are uint8 \[8, 10\]'),
    ([[0]], 'frames are list'),
  ],
)
def test_frames_of_another_kind_are_refused(folder, frames, message):
  with pytest.raises(UserError, match=message):
    load_bundle(folder).score_video(frames, ([0], [BOX]))


@pytest.mark.parametrize(
  'boxes, message',
  [
    (7, 'boxes must be a pair'),
    (([0], [BOX], [1]), 'boxes must be a pair'),
    (([0], [[1, 2, 5]]), r'corners of boxes are int64 \[1, 3\]; they must be float \[1, 4\]'),
    (([0, 1], [BOX]), r'int64 \[1, 4\]; they must be float \[2, 4\], as there are 2 frames'),
    (([0], [list('abcd')]), 'corners of boxes are <U1'),
    (([0.0], [BOX]), r'frames of boxes are float64 \[1\]; they must be int'),
    (([[0]], [BOX]), r'frames of boxes are int64 \[1, 1\]'),
    (([True], [BOX]), 'frames of boxes are bool'),
    (([0, 6], [BOX, BOX]), 'box 1 is in frame 6; the video has 0 to 5'),
    (([-1], [BOX]), 'box 0 is in frame -1'),
    (([0], [[1, 2, np.nan, 6]]), 'box 0 has corners .*nan.*, which are not finite'),
    (([0], [[1, 2, 1e39, 6]]), 'not finite'),
    (([0], [[5, 2, 5, 6]]), r'box 0 has corners \[5.0, 2.0, 5.0, 6.0\]: x2 > x1 and y2 > y1'),
    (([0], [[1, 6, 5, 2]]), 'x2 > x1 and y2 > y1'),
  ],
)
def test_wrong_boxes_are_refused_in_one_line(folder, boxes, message):
  with pytest.raises(UserError, match=message) as caught:
    load_bundle(folder).score_video(video(), boxes)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'name, value, message',
  [
    ('rows', np.zeros((1, 3), np.int32), r'rows are int32 \[1, 3\]; .* takes int32 \[B, 4\]'),
    ('rows', np.zeros((1, 4), np.int64), 'rows are int64'),
    ('corners', np.zeros((2, 4), np.float32), r'corners are float32 \[2, 4\]; .* \[1, 4\]'),
  ],
)
def test_clips_of_another_kind_are_refused(folder, name, value, message):
  given = {'rows': np.zeros((1, 4), np.int32), 'corners': np.float32([BOX])} | {name: value}
  with pytest.raises(UserError, match=message):
    load_bundle(folder)(video(), **given)


def test_an_empty_batch_is_refused(folder):
  with pytest.raises(UserError, match='an empty batch'):
    load_bundle(folder)(video(), np.zeros((0, 4), np.int32), np.zeros((0, 4), np.float32))


def test_a_file_that_is_absent_is_named(folder):
  with pytest.raises(UserError, match='has no foreground.npz; it has note.txt'):
    load_bundle(folder).arrays('foreground.npz')


@pytest.mark.parametrize('name', ['model.stablehlo', 'weights.npz', 'statistics.npz', 'note.txt'])
def test_a_changed_byte_is_refused_and_its_file_named(folder, name):
  content = bytearray((folder / name).read_bytes())
  content[len(content) // 2] ^= 1
  (folder / name).write_bytes(content)
  with pytest.raises(UserError, match=f'{name}.*SHA-256'):
    load_bundle(folder)


def change_and_seal(folder, changes):
  path = folder / 'detector.json'
  manifest = json.loads(path.read_text()) | changes
  path.write_text(json.dumps(manifest | {'sha256': object_digest(manifest)}))


def test_files_that_disagree_are_refused(tmp_path, model, folder):
  weights = {'params/scale': np.float32([1, 2])}
  with pytest.raises(UserError, match='params/scale does not fit what model.stablehlo takes'):
    load_bundle(write(tmp_path / 'w', model, weights=weights))
  manifest = json.loads((folder / 'detector.json').read_text())
  change_and_seal(folder, {'input': manifest['input'] | {'height_px': 9}})
  with pytest.raises(UserError, match=r'takes \[T, H, W\] = \[4, 8, 10\], .* says \[4, 9, 10\]'):
    load_bundle(folder)


def test_an_unknown_kind_is_refused(folder):
  change_and_seal(folder, {'kind': 'sounds'})
  with pytest.raises(UserError, match="kind is 'sounds', this a3dcae_jax knows 'frames'"):
    load_bundle(folder)
