"""A run exported: the bundle scores as the checkpoint does, to the bit; what stops an export is said in one line."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.evaluation.calibrate import load_calibrated
from a3dcae_jax.evaluation.program import scoring_weights
from a3dcae_jax.evaluation.scorer import window_errors
from a3dcae_jax.exporting import bundle
from a3dcae_jax.exporting.onnx_model import convert_and_check, ranking
from a3dcae_jax.run import session, train, workdir
from a3dcae_jax.run.datasets import prepare_data
from a3dcae_jax.scoring.baselines import NORMALISED
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.training.checkpoints import Checkpoints
from tests.tiny_run import tiny

SETTINGS = {
  'paper': {},
  'beyond': {
    'objective.mask_period': 8,
    'objective.mask_length': 3,
    'eval.error': 'local',
    'eval.divide_by_position': True,
    'eval.smoothing_frames': 2.0,
    'model.output_gain': 0.25,
    'frames.target_rms': 0.05,
    'seed': 1,
  },
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('bundles')


def config_of(folder, changes):
  return tiny(folder, **{'eval.batch_size': 4} | changes)


def claimed(folder, name, changes):
  """(config, folder) of a run before its first checkpoint."""
  config = config_of(folder, changes)
  cache = prepare_data(**config.data)
  workdir.claim(folder / name, config)
  np.save(folder / name / 'mean_image.npy', cache.mean_image())
  (folder / name / 'provenance.json').write_text(json.dumps(workdir.provenance(cache)))
  return config, folder / name


def untrained(folder, name, changes):
  """(config, folder) of a run whose one checkpoint is its first state: parity asks for no training."""
  config, run = claimed(folder, name, changes)
  checkpoints = Checkpoints(run / 'checkpoints')
  checkpoints.save(7, train.fresh_state(config))
  checkpoints.close()
  return config, run


@pytest.fixture(scope='module', params=SETTINGS)
def exported(request, folder):
  config, run = untrained(folder, request.param, SETTINGS[request.param])
  with jax.numpy_dtype_promotion(
    'standard'
  ):  # Flax's normalisation promotes its own float32 statistics in the accelerators' bfloat16
    bundle.export_run(run, folder / f'{request.param}.bundle')
  return config, run, folder / f'{request.param}.bundle'


@pytest.mark.slow
def test_a_bundle_scores_as_its_checkpoint_does(exported, folder):
  config, run, bundle = exported
  own = session.evaluate_again(run) or json.loads((run / 'metrics.json').read_text())
  ours = bundle.evaluate_bundle(bundle, folder / f'{run.name}_scored')
  assert (folder / f'{run.name}_scored' / 'scores.csv').read_bytes() == (
    run / 'scores.csv'
  ).read_bytes()
  for field in (
    'metrics',
    'by_position',
    'baselines',
    'events',
    'regions',
    'train_errors',
    'protocol',
    'data',
    'checkpoint_step',
  ):
    assert ours[field] == own[field], field
  assert (NORMALISED in ours['baselines']) == bool(config.frames.target_rms)
  assert load_bundle(bundle).threshold == own['events']['threshold']
  assert {'report.html', 'config.json', 'provenance.json', 'metrics.json'} <= {
    path.name for path in (folder / f'{run.name}_scored').iterdir()
  }


@pytest.mark.slow
@pytest.mark.parametrize('exported', ['beyond'], indirect=True)
def test_every_error_and_map_is_the_checkpoints(exported):
  """Windows in other numbers than the export's check had: the largest difference is 0 on a CPU."""
  config, run, bundle = exported
  cache = prepare_data(**config.data)
  detector, ported, maps = (
    load_calibrated(config, run, cache),
    bundle.detector_of(load_bundle(bundle)),
    {},
  )
  arguments = {'window': config.clips.window, 'batch_size': 3}
  errors = [
    window_errors(
      d,
      cache.test.frames,
      np.arange(0, 60, 12),
      on_maps=lambda start, m, d=d: maps.setdefault(d.step, []).append(m),
      **arguments,
    )
    for d in (detector._replace(step='run'), ported._replace(step='bundle'))
  ]
  assert errors[0].shape == (5, 16) and np.abs(errors[0] - errors[1]).max() == 0
  assert all(np.abs(a - b).max() == 0 for a, b in zip(maps['run'], maps['bundle'], strict=True))


@pytest.mark.slow
def test_an_open_batch_makes_no_gathers(exported):
  """jnp's indexing would (see `ops.shapes.sliced`): the bundle would score as the run does, several times slower."""
  model = export.deserialize(bytearray((exported[2] / 'model.stablehlo').read_bytes()))
  assert not re.search(r'stablehlo\.\w*gather', model.mlir_module())


@pytest.mark.slow
def test_detector_json_says_where_it_comes_from(exported):
  config, run, bundle = exported
  manifest = load_bundle(bundle).manifest
  assert manifest['provenance']['checkpoint_step'] == 7 and manifest['check']['max_difference'] == 0
  assert manifest['provenance']['trained'] == json.loads((run / 'provenance.json').read_text())
  assert manifest['data']['label_set'] == 'official' and manifest['config'] == json.loads(
    (run / 'config.json').read_text()
  )
  assert (
    len(manifest['calibration']['position_mean'])
    == len(manifest['calibration']['position_std'])
    == 16
  )
  assert manifest['error'] == {
    'kind': config.eval.error,
    'block_px': 16,
    'sigma_px': 4.0,
    'local': dict(config.eval.local),
    'mask_period': config.objective.mask_period,
    'mask_length': config.objective.mask_length,
  }


def test_calibration_by_hand(folder):
  config = config_of(folder, {'eval.threshold_value': 0.5, 'eval.divide_by_position': True})
  errors = np.array([[1.0, 4.0], [3.0, 4.0]])
  found = bundle.calibration(config, errors, lambda scale: [(errors / scale).ravel()])
  assert found['position_mean'] == [2.0, 4.0] and found['position_std'] == [1.0, 0.0]
  assert (found['mean'], found['windows'], found['frames']) == (1.0, 2, 4)
  np.testing.assert_allclose(found['std'], np.std([0.5, 1, 1.5, 1]))
  assert found['threshold'] == 0.0 and found['score_quantiles']['1.0'] == pytest.approx(
    0.5 / found['std']
  )


def test_calibration_arrays_travel_with_the_weights():
  from a3dcae_jax.evaluation.scorer import Detector

  detector = Detector(
    lambda weights, mean, clips: (weights['calibration/usual'] + weights['a'], None),
    {'a': jnp.ones(2)},
    None,
    None,
    None,
    0,
  )
  np.testing.assert_array_equal(
    detector.with_calibration({'usual': np.float32([1, 2])}).errors(None)[0], [2, 3]
  )


def test_other_training_frames_cannot_calibrate(folder):
  _, run = claimed(folder, 'other', {'seed': 2})
  mean_image = np.load(run / 'mean_image.npy')
  np.save(run / 'mean_image.npy', np.stack([mean_image, mean_image]))
  with pytest.raises(
    UserError,
    match=r'is \[2, 32, 32\]: a bundle has one mean image, this run .data.mean_image=set. has 2',
  ):
    bundle.export_run(run, folder / 'never.bundle')
  np.save(run / 'mean_image.npy', mean_image + 0.1)
  with pytest.raises(UserError, match='holds other training frames than'):
    bundle.export_run(run, folder / 'never.bundle')
  (run / 'mean_image.npy').unlink()
  with pytest.raises(UserError, match='mean_image.npy does not exist'):
    bundle.export_run(run, folder / 'never.bundle')
  with pytest.raises(UserError, match='exists and is no bundle'):
    bundle.export_run(run, run)
  assert not (folder / 'never.bundle').exists()


@pytest.mark.slow
def test_a_training_run_is_not_overwritten_by_a_bundles_results(exported, folder):
  with pytest.raises(UserError, match='is a training run, whose results would be overwritten'):
    bundle.evaluate_bundle(exported[2], exported[1])


def test_ranking_by_hand():
  expected = np.float32([[1, 2], [3, 4]])
  assert ranking(expected, expected)['swapped_neighbours'] == 0
  changed = ranking(np.float32([[1, 3.5], [3, 4]]), expected)
  assert changed == {
    'frames': 4,
    'max_difference': 1.5,
    'largest_error': 4.0,
    'swapped_neighbours': 1,
  }


def test_a_missing_converter_is_said_before_anything_is_computed(folder, tmp_path, monkeypatch):
  _, run = claimed(folder, 'no_converter', {})
  monkeypatch.setitem(sys.modules, 'jax2onnx', None)
  monkeypatch.setattr(bundle, 'prepare_data', lambda **_: pytest.fail('the footage is opened'))
  with pytest.raises(UserError, match='--format=onnx: jax2onnx is not installed; pip install'):
    bundle.export_run(run, tmp_path / 'x.bundle', onnx=True)
  assert not (tmp_path / 'x.bundle').exists()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_onnx_ranks_frames_alike(folder, rng):
  pytest.importorskip('jax2onnx')
  pytest.importorskip('onnxruntime')
  config = config_of(
    folder, {'eval.error': 'motion', 'objective.mask_period': 8, 'objective.mask_length': 4}
  )
  weights = scoring_weights(train.fresh_state(config))
  clips = rng.integers(0, 256, (3, 16, 32, 32), dtype=np.uint8)
  content, found = convert_and_check(config, weights, np.full((32, 32), 0.5, np.float32), clips)
  assert (
    len(content) > 1000
    and found['max_difference'] < 1e-6 * found['largest_error'] + 1e-6
    and found['swapped_neighbours'] == 0
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'arguments, line',
  [
    (['--workdir=x'], '--bundle is missing, as in --bundle=ped2.bundle'),
    (['--workdir=nowhere', '--bundle=x.bundle'], 'nowhere is no run: it has no config.json'),
    (['--workdir=x', '--bundle=y', '--format=pickle'], 'value should be one of <stablehlo|onnx>'),
  ],
)
def test_mistakes_are_one_line(arguments, line):
  result = subprocess.run(
    [sys.executable, '-m', 'a3dcae_jax.export', *arguments],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (
    result.returncode == 2
    and line in result.stderr
    and len(result.stderr.strip().splitlines()) == 1
  )
