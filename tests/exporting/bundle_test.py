"""An exported run: the bundle gives the scores of the checkpoint, to the bit."""

import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.program import make_recipe, scoring_weights
from a3dcae_jax.evaluation.scorer import BundleScorer
from a3dcae_jax.evaluation.window_errors import WindowList, window_errors
from a3dcae_jax.exporting.bundle import bundle_calibration
from a3dcae_jax.exporting.onnx_model import compare_ranking, convert_and_check
from a3dcae_jax.models.inputs import UNIFORM_ROWS
from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run import train
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.overrides import Changes
from a3dcae_jax.scoring.baselines import NORMALISED
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer
from tests.exporting.runs import write_untrained_run
from tests.tiny_run import tiny

SETTINGS = {
  'paper': {},
  'beyond': {
    'loss.mask_period': 8,
    'loss.mask_length': 3,
    'eval.error': 'local',
    'eval.per_position': True,
    'eval.smoothing_frames': 2.0,
    'model.output_gain': 0.25,
    'input.target_rms': 0.05,
    'seed': 1,
  },
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('bundles')


def untrained(folder, name, changes):
  """Return settings and folder of a run whose only checkpoint is untrained."""
  settings = tiny(folder, **{'eval.batch_size': 4} | changes)
  return settings, write_untrained_run(settings, folder / name)


@pytest.fixture(scope='module', params=SETTINGS)
def exported(request, folder):
  """Return the settings, the folder and the bundle of a run."""
  settings, run = untrained(folder, request.param, SETTINGS[request.param])
  bundle = folder / f'{request.param}.bundle'
  # Flax's normalisation promotes its float32 statistics in the accelerators' bfloat16.
  with jax.numpy_dtype_promotion('standard'):
    run_export.export_run(run, bundle)
  return settings, run, bundle


@pytest.mark.slow
def test_a_bundle_scores_as_its_checkpoint_does(exported, folder):
  settings, run, bundle = exported
  own = run_evaluate.evaluate_again(run)
  scored = folder / f'{run.name}_scored'
  ours = run_export.evaluate_bundle(bundle, scored)
  assert (scored / 'scores.csv').read_bytes() == (run / 'scores.csv').read_bytes()
  assert ours.keys() == own.keys()
  for field in own.keys() - {'seconds'}:
    assert ours[field] == own[field], field
  assert (NORMALISED in ours['baselines']) == bool(settings.input.target_rms)
  assert load_bundle(bundle).threshold == own['events']['threshold']
  names = {path.name for path in scored.iterdir()}
  assert {'report.html', 'config.json', 'provenance.json', 'metrics.json'} <= names


@pytest.mark.slow
@pytest.mark.parametrize('exported', ['beyond'], indirect=True)
def test_a_stream_has_the_scores_of_the_causal_evaluation(exported):
  settings, run, bundle = exported
  causal = {'eval.smoothing_mode': 'causal'}
  run_evaluate.evaluate_again(run, Changes(normalisation='zscore', overrides=causal))
  _, _, expected, _ = read_scores(run / 'scores.csv')
  scorer = StreamScorer(load_bundle(bundle))
  split = open_cache(settings.data).test
  for video, scores in zip(split.videos, expected, strict=True):
    streamed = []
    for frame in split.frames[video.first : video.first + video.num_frames]:
      scorer.add(frame)
      streamed += scorer.scores()
    streamed += scorer.flush()
    got = [each.score for each in streamed]
    np.testing.assert_allclose(got, scores, rtol=1e-5, atol=1e-5)
  # One event per hour allows none in these few seconds.
  alarms = scorer.bundle.manifest['stream']['expected']
  assert alarms['hours'] > 0
  assert alarms['events'] == 0


@pytest.mark.slow
@pytest.mark.parametrize('exported', ['beyond'], indirect=True)
def test_errors_and_maps_equal_those_of_the_checkpoint(exported):
  """The batch size differs from that of the check at export."""
  settings, run, bundle = exported
  cache = open_cache(settings.data)
  inputs = InputStatistics.load(run, settings.data)
  scorer = run_evaluate.load_scorer(settings, run, inputs)
  run_evaluate.calibrate_run(settings, run, scorer, cache, inputs)
  first = np.arange(0, 60, 12)
  windows = WindowList(first, np.ones_like(first), np.zeros(len(first), np.int32))
  results = []
  for each in (scorer, BundleScorer(load_bundle(bundle))):
    maps = []
    errors = window_errors(
      each,
      cache.test.frames,
      windows,
      batch_size=3,
      on_maps=lambda start, batch, maps=maps: maps.append(batch),
    )
    results.append((errors, np.concatenate(maps)))
  assert results[0][0].shape == (5, 16)
  for expected, got in zip(*results, strict=True):
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_a_symbolic_batch_makes_no_gathers(exported):
  """Gathers, which jnp indexing makes, would slow a bundle down several times."""
  content = (exported[2] / 'model.stablehlo').read_bytes()
  model = export.deserialize(bytearray(content))
  assert not re.search(r'stablehlo\.\w*gather', model.mlir_module())


@pytest.mark.slow
def test_detector_json_has_the_provenance(exported):
  settings, run, bundle = exported
  manifest = load_bundle(bundle).manifest
  assert manifest['provenance']['checkpoint_step'] == 7
  # The exported program is compiled anew, so on some CPUs the last bits of an error differ.
  assert manifest['check']['max_difference'] < 1e-7
  assert manifest['provenance']['trained'] == read_json(run / 'provenance.json')
  assert manifest['config'] == read_json(run / 'config.json')
  assert len(manifest['calibration']['position_mean']) == 16
  assert manifest['error']['kind'] == settings.eval.error
  saved = read_json(run / 'calibration' / 'calibration.json')
  del saved['sha256']
  assert bundle_calibration(load_bundle(bundle)).to_json() == saved


@pytest.mark.slow
def test_a_training_run_is_not_overwritten(exported):
  _, run, bundle = exported
  with pytest.raises(UserError, match='is a training run'):
    run_export.evaluate_bundle(bundle, run)
  with pytest.raises(UserError, match='exists'):
    run_export.export_run(run, run)


def test_an_incomplete_run_is_not_exported(folder, tmp_path):
  _, run = untrained(folder, 'half', {'seed': 2})
  (run / 'calibration' / 'inputs.npz').unlink()
  with pytest.raises(UserError, match='inputs.npz does not exist'):
    run_export.export_run(run, tmp_path / 'never.bundle')
  assert not (tmp_path / 'never.bundle').exists()


def test_swapped_neighbours_are_counted():
  expected = np.float32([[1, 2], [3, 4]])
  assert compare_ranking(expected, expected)['swapped_neighbours'] == 0
  assert compare_ranking(np.float32([[1, 3.5], [3, 4]]), expected) == {
    'frames': 4,
    'max_difference': 1.5,
    'largest_error': 4.0,
    'swapped_neighbours': 1,
  }


def test_a_missing_converter_is_named_before_anything_is_computed(folder, tmp_path, monkeypatch):
  _, run = untrained(folder, 'no_converter', {'seed': 3})
  monkeypatch.setitem(sys.modules, 'jax2onnx', None)
  monkeypatch.setattr(run_export, 'load_scorer', lambda *_: pytest.fail('the run is loaded'))
  with pytest.raises(UserError, match='--format=onnx: jax2onnx is not installed'):
    run_export.export_run(run, tmp_path / 'x.bundle', onnx=True)
  assert not (tmp_path / 'x.bundle').exists()


NETWORKS = {
  'masked': {'loss.mask_period': 8, 'loss.mask_length': 4},
  'without_3d_conv': {'model.kind': 'a2dcae'},
  'without_3d_pool': {'model.pool_time': False},
  'conv_ae': {'model.kind': 'conv_ae', 'clips.window': 10},
  'convlstm_ae': {'model.kind': 'convlstm_ae', 'clips.window': 10},
  'plain_3d': {'model.kind': 'plain_3d', 'model.widths': (4, 4, 6, 6)},
}


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('network', NETWORKS)
def test_onnx_ranks_frames_as_the_checkpoint_does(network, folder, rng):
  pytest.importorskip('jax2onnx')
  pytest.importorskip('onnxruntime')
  adversarial = {} if network == 'masked' else {'loss.adversarial_weight': 0.0}
  settings = tiny(folder, **adversarial, **NETWORKS[network])
  weights = scoring_weights(train.fresh_state(settings))
  clips = rng.integers(0, 256, (3, settings.clips.window, 32, 32), dtype=np.uint8)
  recipe = make_recipe(settings, UNIFORM_ROWS)
  mean_image = np.full((32, 32), 0.5, np.float32)
  content, found = convert_and_check(recipe, weights, mean_image, clips)
  assert len(content) > 1000
  assert found['max_difference'] < 1e-6 * found['largest_error'] + 1e-6
  assert found['swapped_neighbours'] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--workdir=x'], '--bundle is missing'),
    (['--workdir=nowhere', '--bundle=x.bundle'], 'nowhere is not a run'),
    (['--workdir=x', '--bundle=y', '--format=pickle'], 'stablehlo'),
  ],
)
def test_mistakes_are_one_line(arguments, words):
  command = [sys.executable, '-m', 'a3dcae_jax.export', *arguments]
  result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
  assert result.returncode == 2
  assert words in result.stderr
  assert len(result.stderr.strip().splitlines()) == 1
