"""The bundle, with a program of three lines: its results and its errors."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import object_digest
from a3dcae_jax.serving.artefact import export_program
from a3dcae_jax.serving.bundle import load_bundle, write_bundle
from tests.properties import hundred

ROOT = pathlib.Path(__file__).parents[2]
WINDOW = 2
HEIGHT = 4
WIDTH = 6
MEAN = np.full((HEIGHT, WIDTH), 0.25, np.float32)
WEIGHTS = {'params/scale': np.float32([3.0]), 'batch_stats/shift': np.float32([0.5])}
CALIBRATION = {
  'videos': 1,
  'windows': 1,
  'frames': 2,
  'per_position': True,
  'position_mean': [1.0, 2.0],
  'position_std': [0.1, 0.1],
  'mean': 1.0,
  'std': 0.5,
  'step_frames': 0,
  'smoothing_frames': 0.0,
  'smoothing_mode': 'centred',
  'threshold': 4.0,
}


def program(weights, mean_image, clips):
  pixels = clips.astype(jnp.float32) / 255 if clips.dtype == jnp.uint8 else clips
  scaled = (pixels - mean_image) * weights['params/scale']
  maps = jnp.square(scaled) + weights['batch_stats/shift']
  return maps.mean((2, 3)), maps


@pytest.fixture(scope='module')
def exported():
  models = {}
  for dtype in ('uint8', 'float32'):
    models[dtype] = export_program(
      program, lambda *given: program(*given), WEIGHTS, MEAN, window=WINDOW, dtype=dtype
    )
  return models


def write(folder, exported, **changes):
  arguments = {
    'models': exported,
    'weights': WEIGHTS,
    'mean_image': MEAN,
    'window': WINDOW,
    'stride': 1,
    'details': {'calibration': CALIBRATION},
  }
  write_bundle(folder, **arguments | changes)
  return folder


@pytest.fixture(scope='module')
def written(tmp_path_factory, exported):
  return write(tmp_path_factory.mktemp('bundles') / 'b', exported)


@pytest.fixture
def folder(tmp_path, exported):
  return write(tmp_path / 'b', exported)


@pytest.mark.parametrize('batch', [1, 3])
def test_any_number_of_clips_has_the_errors_of_the_program(folder, rng, batch):
  clips = rng.integers(0, 256, (batch, WINDOW, HEIGHT, WIDTH), dtype=np.uint8)
  bundle = load_bundle(folder)
  for pixels in (clips, clips / np.float32(255)):
    expected = jax.jit(program)(WEIGHTS, MEAN, pixels)
    for got, want in zip(bundle(pixels), expected, strict=True):
      np.testing.assert_array_equal(got, want)


def test_scores_of_a_video_by_hand(folder):
  """Grey 0.25 has an error of 0.5, grey 1 one of 9 * 0.75^2 + 0.5."""
  frames = np.full((4, HEIGHT, WIDTH), 0.25, np.float32)
  frames[3] = 1.0
  high = 9 * 0.75**2 + 0.5
  calibrated = np.asarray([0.5 / 1.0, 0.5 / 2.0, 0.5 / 1.0, high / 2.0])
  scores = load_bundle(folder).score_video(frames)
  np.testing.assert_allclose(scores, (calibrated - 1.0) / 0.5, rtol=1e-6)


def test_the_threshold_is_that_of_the_calibration(folder):
  assert load_bundle(folder).threshold == 4.0


def test_one_artefact_serves_three_platforms(folder):
  assert load_bundle(folder).manifest['loads_with']['platforms'] == ['cpu', 'cuda', 'tpu']


@pytest.mark.parametrize('platform, expected', [('cpu', 1.0), ('cuda', 2.0), ('tpu', 2.0)])
def test_each_platform_gets_its_own_program(platform, expected):
  def constant(value):
    def fill(weights, mean_image, clips):
      return jnp.full(clips.shape[:2], value), jnp.full(clips.shape, value)

    return fill

  exported = export_program(
    constant(1.0), constant(2.0), WEIGHTS, MEAN, window=WINDOW, dtype='uint8'
  )
  call = jax.jit(exported.call)
  clips = jax.ShapeDtypeStruct((1, WINDOW, HEIGHT, WIDTH), jnp.uint8)
  text = call.trace(WEIGHTS, MEAN, clips).lower(lowering_platforms=(platform,)).as_text()
  index = ('cpu', 'cuda', 'tpu').index(platform)
  assert 'stablehlo.case' in text
  assert f'stablehlo.constant dense<{index}> : tensor<i32>' in text
  if platform == 'cpu':
    errors, _ = call(WEIGHTS, MEAN, np.zeros(clips.shape, np.uint8))
    assert float(errors[0, 0]) == expected


def test_writing_twice_gives_the_same_bytes(tmp_path, exported):
  first = write(tmp_path / 'a', exported)
  second = write(tmp_path / 'b', exported)
  for name in ('weights.npz', 'mean_image.npy', 'detector.json'):
    assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize(
  'name',
  ['model.stablehlo', 'model_float.stablehlo', 'weights.npz', 'mean_image.npy', 'detector.json'],
)
def test_a_changed_byte_is_refused_and_its_file_named(folder, name):
  content = bytearray((folder / name).read_bytes())
  at = content.index(b'0.5') if name == 'detector.json' else len(content) // 2
  content[at + 2] ^= 1
  (folder / name).write_bytes(content)
  with pytest.raises(UserError, match=f'{name}.*SHA-256'):
    load_bundle(folder)


def change_and_seal(folder, changes):
  """Change `detector.json` and update its digest."""
  path = folder / 'detector.json'
  manifest = json.loads(path.read_text()) | changes
  path.write_text(json.dumps(manifest | {'sha256': object_digest(manifest)}))


@pytest.mark.parametrize(
  'harm, message',
  [
    (
      lambda folder: (folder / 'weights.npz').unlink(),
      r'weights.npz cannot be read \(No such file or directory\)',
    ),
    (lambda folder: (folder / 'detector.json').unlink(), 'it has no detector.json'),
    (
      lambda folder: os.truncate(folder / 'weights.npz', 100),
      r'weights.npz has 100 bytes, detector.json says \d+',
    ),
    (lambda folder: (folder / 'detector.json').write_text('{'), 'detector.json is not valid JSON'),
    (
      lambda folder: (folder / 'detector.json').write_text('{}'),
      "detector.json: format is not 'a3dcae_jax detector bundle'",
    ),
    (
      lambda folder: change_and_seal(folder, {'format_version': 1}),
      'format_version is 1, this a3dcae_jax reads 3; export the run again',
    ),
    (
      lambda folder: change_and_seal(folder, {'loads_with': {'jax_at_least': '99.1'}}),
      r'written by jax 99.1, this is jax .*pip install "jax>=99.1"',
    ),
  ],
)
def test_a_bundle_that_does_not_fit_is_refused_in_one_line(folder, harm, message):
  harm(folder)
  with pytest.raises(UserError, match=message) as caught:
    load_bundle(folder)
  assert '\n' not in str(caught.value)


_VALUES = st.sampled_from([None, True, 0, -1, 1.5, 10**20, '', 'x', '9', [], [1], {}, {'a': 1}])


@st.composite
def harms(draw):
  """Draw a function that damages a bundle and seals it again, as only its maker could."""
  names = ['detector.json', 'detector.json', 'weights.npz', 'mean_image.npy', 'model.stablehlo']
  name = draw(st.sampled_from(names))
  places = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
  value = draw(_VALUES)
  new = draw(st.binary(max_size=9))

  def harm(folder):
    manifest = json.loads((folder / 'detector.json').read_text())
    if name == 'detector.json':  # another value, or none, in some place of the tree
      parent = manifest
      for place in places:
        keys = sorted(parent.keys() - {'sha256', 'format'})
        key = keys[place % len(keys)]
        if not isinstance(parent[key], dict) or not parent[key]:
          break
        parent = parent[key]
      keys = sorted(parent)
      parent.pop(keys[places[0] % len(keys)])
      if new:
        parent[keys[places[0] % len(keys)]] = value
    else:
      content = (folder / name).read_bytes()
      at = places[0] % len(content)
      content = content[:at] + new + content[at + places[-1] % 99 :]
      (folder / name).write_bytes(content)
      digest = hashlib.sha256(content).hexdigest()
      manifest['files'][name] = {'bytes': len(content), 'sha256': digest}
    sealed = manifest | {'sha256': object_digest(manifest)}
    (folder / 'detector.json').write_text(json.dumps(sealed))

  return harm


@hundred
@given(harm=harms())
def test_any_bundle_is_loaded_or_refused(written, harm):
  with tempfile.TemporaryDirectory() as parent:
    folder = pathlib.Path(parent) / 'b'
    shutil.copytree(written, folder)
    harm(folder)
    try:
      load_bundle(folder)
    except UserError as error:
      assert str(folder) in str(error)
      assert len(str(error).splitlines()) == 1


def test_a_program_that_takes_clips_without_a_shape_is_refused(folder, monkeypatch):
  model = export.export(jax.jit(lambda weights, mean, clips: clips))(WEIGHTS, MEAN, np.uint8(0))
  (folder / 'model.stablehlo').write_bytes(model.serialize())
  manifest = json.loads((folder / 'detector.json').read_text())
  content = (folder / 'model.stablehlo').read_bytes()
  digest = hashlib.sha256(content).hexdigest()
  manifest['files']['model.stablehlo'] = {'bytes': len(content), 'sha256': digest}
  change_and_seal(folder, {'files': manifest['files']})
  with pytest.raises(
    UserError, match=r'model.stablehlo takes clips uint8 \[\], detector.json says'
  ):
    load_bundle(folder)


@hundred
@given(content=st.one_of(st.binary(max_size=99), st.text(max_size=99).map(str.encode)))
def test_any_bytes_of_a_manifest_are_refused(tmp_path, content):
  (tmp_path / 'detector.json').write_bytes(content)
  with pytest.raises(UserError, match='detector.json'):
    load_bundle(tmp_path)


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'mean_image': np.zeros((8, 6), np.float32)},
      r'model.stablehlo takes clips uint8 \[b, 2, 4, 6\], detector.json says uint8 \[B, 2, 8, 6\]',
    ),
    ({'window': 3}, r'takes clips uint8 \[b, 2, 4, 6\], detector.json says uint8 \[B, 3, 4, 6\]'),
    (
      {'weights': {**WEIGHTS, 'params/scale': np.float32([1, 2])}},
      r'weights.npz: params/scale does not fit what model.stablehlo takes \(1 arrays',
    ),
    (
      {'weights': {'params/scale': WEIGHTS['params/scale']}},
      'weights.npz: batch_stats/shift does not fit',
    ),
  ],
)
def test_files_that_disagree_are_refused(tmp_path, exported, changes, message):
  write(tmp_path / 'b', exported, **changes)
  with pytest.raises(UserError, match=message):
    load_bundle(tmp_path / 'b')


@pytest.mark.parametrize(
  'clips, message',
  [
    (
      np.zeros((2, WINDOW, HEIGHT, 7), np.uint8),
      r'clips are uint8 \[2, 2, 4, 7\]; .* array uint8 or float32 \[B, 2, 4, 6\]',
    ),
    (np.zeros((WINDOW, HEIGHT, WIDTH), np.uint8), r'clips are uint8 \[2, 4, 6\]'),
    (np.zeros((1, WINDOW, HEIGHT, WIDTH), np.int32), 'clips are int32'),
    (
      np.full((1, WINDOW, HEIGHT, WIDTH), 255, np.float32),
      r'pixels in \[0, 1\].* between 255 and 255',
    ),
    (np.full((1, WINDOW, HEIGHT, WIDTH), -0.1, np.float32), r'pixels in \[0, 1\]'),
    (np.full((1, WINDOW, HEIGHT, WIDTH), np.nan, np.float32), 'between nan and nan'),
    (np.zeros((0, WINDOW, HEIGHT, WIDTH), np.uint8), 'empty batch'),
    ([[1]], r'clips are list; .* \[B, 2, 4, 6\]'),
  ],
)
def test_clips_of_another_kind_are_refused(folder, clips, message):
  with pytest.raises(UserError, match=message):
    load_bundle(folder)(clips)


@pytest.mark.parametrize(
  'frames, message',
  [
    (np.zeros((1, 8, HEIGHT, WIDTH), np.uint8), r'are uint8 \[1, 8, 4, 6\]; .* \[N, 4, 6\]'),
    (np.zeros((8, HEIGHT, 7), np.uint8), r'frames of a video are uint8 \[8, 4, 7\]'),
    (np.zeros((8, HEIGHT, WIDTH)), r'are float64 .* uint8 or float32 \[N, 4, 6\]'),
    ([np.zeros((HEIGHT, WIDTH), np.uint8)], r'frames of a video are list'),
    (np.full((8, HEIGHT, WIDTH), np.inf, np.float32), r'pixels in \[0, 1\].* inf'),
    (np.full((8, HEIGHT, WIDTH), np.nan, np.float32), r'pixels in \[0, 1\]'),
    (np.full((8, HEIGHT, WIDTH), 1.5, np.float32), 'between 1.5 and 1.5'),
    (np.zeros((1, HEIGHT, WIDTH), np.uint8), r'1 frames, fewer than the window \(=2\)'),
  ],
)
def test_videos_of_another_kind_are_refused(folder, frames, message):
  with pytest.raises(UserError, match=message):
    load_bundle(folder).score_video(frames)


def test_only_a_bundle_is_overwritten(tmp_path, exported, folder):
  precious = tmp_path / 'home'
  precious.mkdir()
  (precious / 'file').write_text('kept')
  with pytest.raises(UserError, match='exists and is not a bundle'):
    write(precious, exported)
  assert (precious / 'file').read_text() == 'kept'
  write(folder, exported, details={'calibration': CALIBRATION | {'threshold': 5.0}})
  assert load_bundle(folder).threshold == 5.0


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(tmp_path, exported, folder):
  details = {'calibration': CALIBRATION | {'threshold': float('nan')}}
  with pytest.raises(ValueError, match='not JSON compliant'):
    write(folder, exported, details=details)
  assert load_bundle(folder).threshold == 4.0
  assert [path.name for path in tmp_path.iterdir()] == ['b']


# jax itself imports scipy at the first call of a program, so scipy is allowed.
ALONE = """
import sys
ALLOWED = {'jax', 'jaxlib', 'numpy', 'flatbuffers', 'ml_dtypes', 'opt_einsum', 'scipy'}
ALLOWED |= {'a3dcae_jax', *sys.stdlib_module_names}
finders = sys.meta_path[:]

class Only:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] not in ALLOWED and not name.startswith('_'):
      return None
    specs = (finder.find_spec(name, path, target) for finder in finders)
    return next(filter(None, specs), None)

sys.meta_path[:] = [Only()]
import numpy as np
from a3dcae_jax.serving.bundle import load_bundle
detector = load_bundle(sys.argv[1])
assert 'scipy' not in sys.modules
errors, maps = detector(np.full((5, 2, 4, 6), 51, np.uint8))
scores = detector.score_video(np.full((7, 4, 6), 51, np.uint8))
print(errors.shape, maps.shape, scores.shape, float(errors[0, 0]))
loaded = {name.partition('.')[0] for name in sys.modules if sys.modules[name] is not None}
assert not loaded & {'flax', 'orbax', 'ml_collections', 'absl', 'tensorflow', 'optax'}, loaded
"""


@pytest.mark.slow
def test_loading_needs_jax_numpy_and_flatbuffers_alone(folder):
  command = [sys.executable, '-c', ALONE, str(folder)]
  result = subprocess.run(
    command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
  )
  assert result.returncode == 0, result.stderr[-2000:]
  errors, _ = program(WEIGHTS, MEAN, np.full((1, WINDOW, HEIGHT, WIDTH), 51, np.uint8))
  assert result.stdout.strip() == f'(5, 2) (5, 2, 4, 6) (7,) {float(errors[0, 0])}'
