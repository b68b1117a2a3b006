"""The bundle itself, with a program of three lines: round trip, what is refused and in which words, nothing half-written."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving import manifest as manifests
from a3dcae_jax.serving.artefact import export_program
from a3dcae_jax.serving.bundle import load_bundle, write_bundle

ROOT = pathlib.Path(__file__).parents[2]
WINDOW, HEIGHT, WIDTH = 2, 4, 6
MEAN = np.full((HEIGHT, WIDTH), 0.25, np.float32)
WEIGHTS = {'params/scale': np.float32([3.0]), 'batch_stats/shift': np.float32([0.5])}
CALIBRATION = {
  'divide_by_position': True,
  'position_mean': [1.0, 2.0],
  'position_std': [0.1, 0.1],
  'mean': 1.0,
  'std': 0.5,
  'threshold': 4.0,
}


def program(weights, mean_image, clips):
  pixels = clips.astype(jnp.float32) / 255 if clips.dtype == jnp.uint8 else clips
  maps = jnp.square((pixels - mean_image) * weights['params/scale']) + weights['batch_stats/shift']
  return maps.mean((2, 3)), maps


def models(window=WINDOW, **arguments):
  return {
    dtype: export_program(
      program,
      lambda *given: program(*given),
      WEIGHTS,
      MEAN,
      window=window,
      dtype=dtype,
      **arguments,
    )
    for dtype in ('uint8', 'float32')
  }


@pytest.fixture(scope='module')
def exported():
  return models()


def write(folder, exported, **changes):
  write_bundle(
    folder,
    **(
      {
        'models': exported,
        'weights': WEIGHTS,
        'mean_image': MEAN,
        'window': WINDOW,
        'details': {'calibration': CALIBRATION},
      }
      | changes
    ),
  )
  return folder


@pytest.fixture
def folder(tmp_path, exported):
  return write(tmp_path / 'b', exported)


@pytest.mark.parametrize('batch', [1, 3])
def test_any_number_of_clips_scores_as_the_program_does(folder, rng, batch):
  clips = rng.integers(0, 256, (batch, WINDOW, HEIGHT, WIDTH), dtype=np.uint8)
  bundle = load_bundle(folder)
  for given in (clips, clips / np.float32(255)):
    for got, expected in zip(bundle(given), jax.jit(program)(WEIGHTS, MEAN, given), strict=True):
      np.testing.assert_array_equal(got, expected)


def test_scores_and_threshold_are_those_of_the_calibration(folder):
  bundle = load_bundle(folder)
  np.testing.assert_allclose(
    bundle.scores(np.float32([[1.0, 2.0], [2.0, 8.0]])), [[0.0, 0.0], [2.0, 6.0]]
  )
  assert bundle.threshold == 4.0


def test_one_artefact_serves_three_platforms(folder):
  assert load_bundle(folder).manifest['loads_with']['platforms'] == ['cpu', 'cuda', 'tpu']


@pytest.mark.parametrize('platform, expected', [('cpu', 1.0), ('cuda', 2.0), ('tpu', 2.0)])
def test_each_platform_gets_its_own_program(platform, expected):
  def constant(value):
    return lambda weights, mean_image, clips: (
      jnp.full(clips.shape[:2], value),
      jnp.full(clips.shape, value),
    )

  exported = export_program(
    constant(1.0), constant(2.0), WEIGHTS, MEAN, window=WINDOW, dtype='uint8'
  )
  clips = jax.ShapeDtypeStruct((1, WINDOW, HEIGHT, WIDTH), jnp.uint8)
  text = (
    jax.jit(exported.call)
    .trace(WEIGHTS, MEAN, clips)
    .lower(lowering_platforms=(platform,))
    .as_text()
  )
  index = ('cpu', 'cuda', 'tpu').index(platform)
  assert 'stablehlo.case' in text and f'stablehlo.constant dense<{index}> : tensor<i32>' in text
  if platform == 'cpu':
    assert (
      float(jax.jit(exported.call)(WEIGHTS, MEAN, np.zeros(clips.shape, np.uint8))[0][0, 0])
      == expected
    )


def test_writing_twice_gives_the_same_bytes(tmp_path, exported):
  first, second = write(tmp_path / 'a', exported), write(tmp_path / 'b', exported)
  for name in ('weights.npz', 'mean_image.npy', 'detector.json'):
    assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize(
  'name',
  ['model.stablehlo', 'model_float.stablehlo', 'weights.npz', 'mean_image.npy', 'detector.json'],
)
def test_a_changed_byte_is_refused_by_file(folder, name):
  content = bytearray((folder / name).read_bytes())
  at = content.index(b'0.5') if name == 'detector.json' else len(content) // 2
  content[at + 2] ^= 1
  (folder / name).write_bytes(content)
  with pytest.raises(UserError, match=f'{name}.*SHA-256'):
    load_bundle(folder)


@pytest.mark.parametrize(
  'harm, message',
  [
    (
      lambda f: (f / 'weights.npz').unlink(),
      r'weights.npz cannot be read \(No such file or directory\): the bundle is not whole',
    ),
    (lambda f: (f / 'detector.json').unlink(), r'is no bundle: it has no detector.json'),
    (
      lambda f: os.truncate(f / 'weights.npz', 100),
      r'weights.npz has 100 bytes, detector.json says \d+',
    ),
    (lambda f: (f / 'detector.json').write_text('{'), r'detector.json is not valid JSON'),
    (
      lambda f: (f / 'detector.json').write_text('{}'),
      r"detector.json: format is not 'a3dcae_jax detector bundle'",
    ),
    (lambda f: reseal(f, format_version=2), r'format_version is 2, this a3dcae_jax reads 1'),
    (
      lambda f: reseal(f, loads_with={'jax_at_least': '99.1'}),
      r'written by jax 99.1, this is jax .*load forward only: pip install "jax>=99.1"',
    ),
  ],
)
def test_what_does_not_fit_is_one_line(folder, harm, message):
  harm(folder)
  with pytest.raises(UserError, match=message) as caught:
    load_bundle(folder)
  assert '\n' not in str(caught.value)


def reseal(folder, **changes):
  """Changes `detector.json` and gives it a right digest again."""
  manifest = json.loads((folder / 'detector.json').read_text()) | changes
  (folder / 'detector.json').write_text(
    json.dumps(manifest | {'sha256': manifests.digest(manifest)})
  )


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
      r'weights.npz: batch_stats/shift does not fit',
    ),
  ],
)
def test_files_that_disagree_are_refused(tmp_path, exported, changes, message):
  with pytest.raises(UserError, match=message):
    load_bundle(write(tmp_path / 'b', exported, **changes))


@pytest.mark.parametrize(
  'clips, message',
  [
    (
      np.zeros((2, WINDOW, HEIGHT, 7), np.uint8),
      r'clips are uint8 \[2, 2, 4, 7\]; .* takes uint8 or float32 \[B, 2, 4, 6\]',
    ),
    (np.zeros((WINDOW, HEIGHT, WIDTH), np.uint8), r'clips are uint8 \[2, 4, 6\]'),
    (np.zeros((1, WINDOW, HEIGHT, WIDTH), np.int32), r'clips are int32'),
    (
      np.full((1, WINDOW, HEIGHT, WIDTH), 255, np.float32),
      r'pixels in \[0, 1\], the largest of these is 255',
    ),
  ],
)
def test_clips_of_another_kind_are_refused(folder, clips, message):
  with pytest.raises(UserError, match=message):
    load_bundle(folder)(clips)


def test_only_a_bundle_is_overwritten(tmp_path, exported, folder):
  precious = tmp_path / 'home'
  precious.mkdir()
  (precious / 'file').write_text('kept')
  with pytest.raises(UserError, match='exists and is no bundle'):
    write(precious, exported)
  assert (precious / 'file').read_text() == 'kept'
  write(folder, exported, details={'calibration': CALIBRATION | {'threshold': 5.0}})
  assert load_bundle(folder).threshold == 5.0


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(tmp_path, exported, folder):
  with pytest.raises(ValueError, match='not JSON compliant'):
    write(folder, exported, details={'calibration': CALIBRATION | {'threshold': float('nan')}})
  assert load_bundle(folder).threshold == 4.0 and [path.name for path in tmp_path.iterdir()] == [
    'b'
  ]


ALONE = """
import sys
ALLOWED = {'jax', 'jaxlib', 'numpy', 'flatbuffers', 'ml_dtypes', 'opt_einsum', 'scipy', 'a3dcae_jax'} | set(sys.stdlib_module_names)
finders = sys.meta_path[:]
class Only:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in ALLOWED or name.startswith('_'):
      return next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
sys.meta_path[:] = [Only()]
import numpy as np
from a3dcae_jax.serving.bundle import load_bundle
detector = load_bundle(sys.argv[1])
assert 'scipy' not in sys.modules
errors, maps = detector(np.full((5, 2, 4, 6), 51, np.uint8))
print(errors.shape, maps.shape, float(errors[0, 0]), detector.scores(errors).shape)
loaded = {name.partition('.')[0] for name in sys.modules if sys.modules[name] is not None}
assert not loaded & {'flax', 'orbax', 'ml_collections', 'absl', 'tensorflow', 'optax'}, loaded
"""


@pytest.mark.slow
def test_loading_needs_jax_and_numpy_alone(folder):
  """jax's own requirements (scipy among them, which it imports at the first call) and flatbuffers are let through; no other package is there."""
  result = subprocess.run(
    [sys.executable, '-c', ALONE, str(folder)],
    capture_output=True,
    text=True,
    timeout=120,
    cwd=ROOT,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-2000:]
  assert result.stdout.split() == [
    '(5,',
    '2)',
    '(5,',
    '2,',
    '4,',
    '6)',
    str(float(program(WEIGHTS, MEAN, np.full((1, 2, 4, 6), 51, np.uint8))[0][0, 0])),
    '(5,',
    '2)',
  ]
