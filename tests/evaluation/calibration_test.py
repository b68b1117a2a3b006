"""Saved calibrations: every kind of damage is one line that says what to do."""

import dataclasses
import json

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.object_calibration import ObjectCalibration
from a3dcae_jax.serving.arrays import pack_arrays, unpack_arrays

SOURCE = {'checkpoint_step': 3, 'step': 1}
DATA = fields.Data(height=4, width=6)

ERRORS = Calibration(
  source=SOURCE,
  videos='training videos',
  stride=1,
  position_mean=np.float32([2, 4]),
  position_std=np.float32([1, 0]),
  windows=2,
  first_frames=(0,),
  num_frames=(4,),
  uncalibrated=np.array([1.0, 4.0, 3.0, 4.0]),
  per_position=np.array([0.5, 1.0, 1.5, 1.0]),
  motion_statistics=None,
)
OBJECTS = ObjectCalibration(
  source=SOURCE,
  videos='training videos',
  frame=np.arange(3, dtype=np.int32),
  edges=np.float32([[0.1, 0.2], [0.3, 0.5], [0.4, 0.8]]),
  measurements=np.ones((3, 5), np.float32),
  num_frames=(4,),
)
INPUTS = InputStatistics(
  names=('set',),
  frame_means=np.full((1, 4, 6), 0.5, np.float32),
  input_means=np.full((1, 4, 6), 0.25, np.float32),
  row_scale=(0.5, 1.0),
  train_sha256='0' * 64,
)


def refusal(path, load):
  """Check that a file is refused in one line that names it, and return the line."""
  with pytest.raises(UserError) as caught:
    load()
  line = str(caught.value)
  assert str(path) in line and '\n' not in line
  return line


def flipped(content, at):
  harmed = bytearray(content)
  harmed[at] ^= 0x10
  return bytes(harmed)


def harmed_bytes(content):
  """Return copies of a file that are cut, empty, other content, or changed in one byte."""
  copies = [b'', b'nothing', content[:-1], content[: len(content) // 2]]
  return copies + [flipped(content, at) for at in range(0, len(content), len(content) // 40)]


@pytest.mark.parametrize(
  ('saved', 'name'),
  [(ERRORS, 'calibration.json'), (OBJECTS, 'objects.npz')],
  ids=['errors', 'objects'],
)
def test_a_damaged_calibration_is_refused_and_never_used(tmp_path, saved, name):
  saved.save(tmp_path)
  path = tmp_path / 'calibration' / name
  content = path.read_bytes()
  kind = type(saved)
  before = str(kind.load(tmp_path, SOURCE))
  assert kind.load(tmp_path, {'checkpoint_step': 4}) is None
  refused = 0
  for harmed in harmed_bytes(content):
    path.write_bytes(harmed)
    try:
      found = kind.load(tmp_path, SOURCE)
    except UserError:
      assert 'remove it: it is made again' in refusal(path, lambda: kind.load(tmp_path, SOURCE))
      refused += 1
    else:  # a byte that carries nothing, such as a date in the .npz
      assert str(found) == before
  assert refused > 30


@pytest.mark.parametrize(
  'changes',
  [{'stride': 2}, {'num_frames': [3]}, {'source': {'checkpoint_step': 4}}, {'sha256': None}],
)
def test_a_changed_field_is_refused(tmp_path, changes):
  ERRORS.save(tmp_path)
  path = tmp_path / 'calibration' / 'calibration.json'
  write_json(path, read_json(path) | changes)
  assert 'SHA-256' in refusal(path, lambda: Calibration.load(tmp_path, SOURCE))
  values = read_json(path)
  for field in values:
    write_json(path, {name: value for name, value in values.items() if name != field})
    refusal(path, lambda: Calibration.load(tmp_path, SOURCE))
  path.write_text(json.dumps(values | {'uncalibrated': [float('nan')]}))
  refusal(path, lambda: Calibration.load(tmp_path, SOURCE))


def test_measurements_that_were_replaced_are_refused(tmp_path):
  OBJECTS.save(tmp_path)
  path = tmp_path / 'calibration' / 'objects.npz'
  arrays = unpack_arrays(path.read_bytes(), 'objects.npz')
  for changes in ({'measurements': np.zeros((3, 5), np.float32)}, {'sha256': np.asarray('0')}):
    path.write_bytes(pack_arrays(arrays | changes))
    assert 'SHA-256' in refusal(path, lambda: ObjectCalibration.load(tmp_path, SOURCE))
  del arrays['sha256']
  path.write_bytes(pack_arrays(arrays))
  assert 'SHA-256' in refusal(path, lambda: ObjectCalibration.load(tmp_path, SOURCE))


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'frame_means': np.zeros((2, 4, 6), np.float32)}, 'frame_means is [2, 4, 6], not [1, 4, 6]'),
    ({'input_means': np.zeros((1, 4, 7), np.float32)}, 'input_means is [1, 4, 7]'),
    ({'frame_means': np.full((1, 4, 6), np.nan, np.float32)}, 'frame_means has values'),
    ({'row_scale': np.ones(3)}, 'row_scale is [3]'),
    ({'names': np.asarray('set')}, 'names'),
    ({'names': np.asarray(['a', 'b'])}, 'not [2, 4, 6]'),
  ],
)
def test_input_statistics_of_another_shape_are_refused(tmp_path, changes, words):
  INPUTS.save(tmp_path)
  path = tmp_path / 'calibration' / 'inputs.npz'
  assert InputStatistics.load(tmp_path, DATA).names == ('set',)
  path.write_bytes(pack_arrays(unpack_arrays(path.read_bytes(), 'inputs.npz') | changes))
  line = refusal(path, lambda: InputStatistics.load(tmp_path, DATA))
  if words != 'names':
    assert words in line
  assert 'train again' in line


def test_damaged_input_statistics_are_refused_in_one_line(tmp_path):
  INPUTS.save(tmp_path)
  path = tmp_path / 'calibration' / 'inputs.npz'
  content = path.read_bytes()
  for harmed in harmed_bytes(content):
    path.write_bytes(harmed)
    try:
      InputStatistics.load(tmp_path, DATA)
    except UserError:
      refusal(path, lambda: InputStatistics.load(tmp_path, DATA))


def calibration_of_videos(rng, num_frames, speeds):
  """Return a calibration with one object per frame, whose speed depends on its video."""
  frame = np.arange(sum(num_frames), dtype=np.int32)
  measurements = rng.uniform(0.9, 1.1, (len(frame), 5)).astype(np.float32)
  measurements[:, 4] *= np.repeat(speeds, num_frames)
  return dataclasses.replace(
    OBJECTS,
    frame=frame,
    edges=rng.uniform([0.2, 0.4], [0.3, 0.6], (len(frame), 2)).astype(np.float32),
    measurements=measurements,
    num_frames=num_frames,
  )


@pytest.mark.parametrize(
  'num_frames, speeds', [((40, 40, 40, 40), (1, 1, 1, 2)), ((140, 20), (1, 2))]
)
def test_errors_of_training_objects_come_from_the_other_videos(rng, num_frames, speeds):
  calibration = calibration_of_videos(rng, num_frames, speeds)
  statistics = calibration.statistics()
  zscores = statistics.zscores(calibration.edges, calibration.measurements)
  errors = np.concatenate(calibration.errors((0.0, 0.0, 1.0)))
  unusual = calibration.frame >= sum(num_frames[:-1])
  assert errors[unusual].mean() > 2 * zscores[unusual, 2].mean()
  assert [len(video) for video in calibration.errors((0.0, 0.0, 1.0))] == list(num_frames)
