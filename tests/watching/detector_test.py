"""Boxes for bundles of objects: by their foreground, or by the file that they name."""

import hashlib
import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import CachedVideo, Split
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.detectors import ForegroundVideos
from a3dcae_jax.objects.foreground import ForegroundModel
from a3dcae_jax.serving.arrays import pack_arrays
from a3dcae_jax.serving.artefact import export_object_program
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.object_bundle import write_object_bundle
from a3dcae_jax.serving.object_statistics import ObjectStatistics
from a3dcae_jax.watching.detector import make_box_finder, mean_images
from a3dcae_jax.watching.session import Options, detect
from a3dcae_jax.watching.sources import find_sources
from tests.watching.toy import camera, mean_image, write_toy_bundle, write_video

SHAPE = (64, 96)
BRIGHT = range(60, 90)


def program(weights, frames, rows, corners):
  """The speed is the brightness of the clip's last frame in the lower left."""
  last = frames[rows[:, -1], 32:, :36].astype(jnp.float32).mean((1, 2)) / 255
  still = jnp.ones_like(last)
  return jnp.stack([still, still, still, still, last * weights['scale']], axis=1)


def write_bundle(folder, detector, files):
  weights = {'scale': np.float32([10.0])}
  rng = np.random.default_rng(0)
  raw = np.concatenate([rng.uniform(0.9, 1.1, (99, 4)), rng.uniform(4, 6, (99, 1))], axis=1)
  lower = rng.uniform(0.5, 1, 99)
  edges = np.stack([lower - 0.5, lower], axis=1)  # objects of one height
  means = np.repeat(np.repeat(mean_image(), 2, 0), 2, 1)[None]
  write_object_bundle(
    folder,
    model=export_object_program(
      program, program, weights, window=4, height=SHAPE[0], width=SHAPE[1]
    ),
    weights=weights,
    statistics=ObjectStatistics.fit(edges, raw),
    details={
      'calibration': {
        'weights': {'appearance': 0.0, 'motion': 0.0, 'speed': 1.0},
        'step_frames': 2,
        'mean': 0.5,
        'std': 1.0,
        'smoothing_frames': 1.0,
        'smoothing_mode': 'centred',
        'threshold': 4.0,
      },
      'stream': {'threshold': 2.0},
      'boxes': {
        'detector': detector,
        'min_score': 0.25,
        'classes': [],
        'min_size_px': 4,
        'max_per_frame': 32,
      },
    },
    extra_files={'inputs.npz': pack_arrays({'frame_means': means}), **files},
  )
  return load_bundle(folder)


@pytest.fixture(scope='module')
def model():
  frames = np.stack(list(camera(60, seed=1)))
  return ForegroundModel.fit(Split(frames, (CachedVideo('a', 0, 60, ''),)))


@pytest.fixture
def foreground_bundle(tmp_path, model):
  content = pack_arrays(model.to_arrays())
  named = {
    'name': 'foreground',
    'kind': 'foreground',
    'sha256': hashlib.sha256(content).hexdigest(),
  }
  return write_bundle(tmp_path / 'objects.bundle', named, {'foreground.npz': content})


def test_boxes_are_those_of_the_run(foreground_bundle, model):
  frames = np.stack(list(camera(80, BRIGHT)))
  video = CachedVideo('a', 0, 80, '')
  expected = ForegroundVideos(model).detect_video(Split(frames, (video,)), video)
  options = types.SimpleNamespace(**foreground_bundle.manifest['boxes'])
  expected = select_boxes(expected, options)
  finder = make_box_finder(foreground_bundle, '').stream()
  found = [finder.detect(frame) for frame in frames]
  for index, corners in enumerate(found):
    np.testing.assert_array_equal(corners, expected.corners[expected.frame == index])
  assert len(found[70])
  assert mean_images(foreground_bundle).shape == (1, *SHAPE)


def test_a_bundle_of_objects_finds_the_event(foreground_bundle, tmp_path):
  video = write_video(tmp_path / 'day.avi', camera(160, BRIGHT))
  options = Options(tmp_path / 'out', overlay=True)
  assert detect(str(foreground_bundle.folder), find_sources([str(video)]), options) == 0
  lines = (tmp_path / 'out' / 'day.avi' / 'events.jsonl').read_text().splitlines()
  start, *_, end = map(json.loads, lines)
  assert 58 <= start['first_frame'] <= 66
  assert 88 <= end['last_frame'] <= 95
  x1, y1, x2, y2 = end['box']
  assert 0 <= x1 < x2 < 0.45
  assert 0.45 < y1 < y2 <= 1


def test_the_file_of_a_detector_must_be_that_of_the_run(tmp_path):
  named = {'name': 'yolox_nano', 'kind': 'yolox', 'sha256': 'a' * 64}
  bundle = write_bundle(tmp_path / 'b', named, {})
  with pytest.raises(UserError, match='--detector is missing.*yolox_nano'):
    make_box_finder(bundle, '')
  with pytest.raises(UserError, match='no such file'):
    make_box_finder(bundle, str(tmp_path / 'none.onnx'))
  (tmp_path / 'other.onnx').write_bytes(b'x')
  with pytest.raises(UserError, match='name that file'):
    make_box_finder(bundle, str(tmp_path / 'other.onnx'))
  bundle = write_bundle(tmp_path / 'c', named | {'kind': 'csv', 'name': 'boxes.csv'}, {})
  with pytest.raises(UserError, match='no boxes of other videos'):
    make_box_finder(bundle, '')


def test_a_bundle_of_frames_needs_no_detector(tmp_path):
  bundle = load_bundle(write_toy_bundle(tmp_path / 'b'))
  assert make_box_finder(bundle, '') is None
  with pytest.raises(UserError, match='scores whole frames'):
    make_box_finder(bundle, 'x.onnx')
