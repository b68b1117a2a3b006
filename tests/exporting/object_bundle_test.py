"""An exported run on objects that the foreground finds."""

import pathlib
import re

import jax
import numpy as np
import pytest
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import write_json
from a3dcae_jax.evaluation.calibrate import find_input_statistics
from a3dcae_jax.evaluation.object_scorer import make_object_recipe
from a3dcae_jax.evaluation.program import scoring_weights
from a3dcae_jax.exporting.object_bundle import sample_objects
from a3dcae_jax.exporting.onnx_model import convert_objects_and_check
from a3dcae_jax.objects.box_cache import open_boxes
from a3dcae_jax.objects.boxes import select_boxes
from a3dcae_jax.objects.detectors import make_detector
from a3dcae_jax.run import evaluate as run_evaluate
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run import train, workdir
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.overrides import Changes
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.serving.bundle import load_bundle
from tests.exporting.runs import write_untrained_run
from tests.tiny_run import tiny

PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'reference' / 'bundle.md'
CHANGES = {
  'clips.window': 4,
  'clips.strides': (1,),
  'objects.detector': 'foreground',
  'objects.crop_px': 8,
  'model.widths': (2, 3, 4),
  'input.kind': 'frames_and_differences',
  'loss.adversarial_weight': 0.0,
  'eval.object_weights': (0.25, 0.25, 1.0),
  'eval.smoothing_frames': 2.0,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('object_bundles')


@pytest.fixture(scope='module')
def untrained(folder):
  """Return settings and folder of a run whose only checkpoint is untrained."""
  settings = tiny(folder, **CHANGES)
  cache = open_cache(settings.data)
  for split in ('train', 'test'):  # in this process, so that none is started
    open_boxes(cache, make_detector('foreground'), split, processes=1)
  return settings, write_untrained_run(settings, folder / 'run')


@pytest.fixture(scope='module')
def exported(folder, untrained):
  with jax.numpy_dtype_promotion('standard'):
    run_export.export_run(untrained[1], folder / 'ped2.bundle')
  return folder / 'ped2.bundle'


@pytest.mark.slow
def test_the_lines_of_the_page_score_a_video_as_the_evaluation_does(
  untrained, exported, monkeypatch
):
  settings, run = untrained
  run_evaluate.evaluate_again(run, Changes(normalisation='zscore'))
  section = PAGE.read_text().partition('## Bundles of objects')[2]
  code = re.search(r'```python\n(.*?)```', section, re.DOTALL).group(1)
  monkeypatch.chdir(exported.parent)
  _, _, expected, _ = read_scores(run / 'scores.csv')
  split = open_cache(settings.data).test
  for video, scores in zip(split.videos, expected, strict=True):
    names = {'frames': split.frames[video.first : video.first + video.num_frames]}
    exec(code, names)
    np.testing.assert_allclose(names['scores'], scores, rtol=1e-5, atol=1e-5)
    assert len(np.unique(names['scores'])) > 10


@pytest.mark.slow
def test_the_bundle_has_its_detector(untrained, exported):
  settings, _ = untrained
  bundle = load_bundle(exported)
  manifest = bundle.manifest
  found = manifest['boxes']['detector']
  assert found['name'] == found['kind'] == 'foreground'
  assert found['sha256'] == manifest['files']['foreground.npz']['sha256']
  assert manifest['boxes']['max_per_frame'] == settings.objects.max_per_frame
  assert manifest['check']['max_difference'] == 0
  assert manifest['provenance']['checkpoint_step'] == 7
  boxes = open_boxes(open_cache(settings.data), make_detector('foreground'), 'test')
  assert len(select_boxes(boxes, settings.objects).frame)


@pytest.mark.slow
def test_only_rows_of_frames_are_gathered(exported):
  """Gathers, which jnp indexing makes, would slow a bundle down several times."""
  model = export.deserialize(bytearray((exported / 'model.stablehlo').read_bytes()))
  gathers = re.findall(r'"stablehlo\.(?:dynamic_)?gather".*', model.mlir_module())
  assert gathers
  assert all('xui8>' in gather for gather in gathers)


def test_a_detector_that_is_gone_is_named(folder, tmp_path):
  (tmp_path / 'boxes.csv').write_text('')
  settings = tiny(folder, **CHANGES | {'objects.detector': str(tmp_path / 'boxes.csv')})
  workdir.init_or_check_workdir(tmp_path / 'run', settings)
  cache = open_cache(settings.data)
  find_input_statistics('set', settings.input, cache).save(tmp_path / 'run')
  write_json(tmp_path / 'run' / 'provenance.json', workdir.provenance(cache.data_hash))
  (tmp_path / 'boxes.csv').unlink()
  with pytest.raises(UserError, match='boxes.csv.*there is no such file'):
    run_export.export_run(tmp_path / 'run', tmp_path / 'never.bundle')
  assert not (tmp_path / 'never.bundle').exists()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_onnx_measures_objects_as_the_checkpoint_does(folder, rng):
  pytest.importorskip('jax2onnx')
  onnxruntime = pytest.importorskip('onnxruntime')
  settings = tiny(folder, **CHANGES)
  recipe = make_object_recipe(settings)
  weights = scoring_weights(train.fresh_state(settings))
  objects = sample_objects(np.full((32, 32), 0.5, np.float32), 4)
  content, found = convert_objects_and_check(recipe, weights, *objects)
  assert found['max_difference'] < 1e-5 * found['largest_measurement']
  session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
  given = dict(zip(found['inputs'], objects, strict=True))
  (whole,) = session.run(None, given)
  given |= {'rows': given['rows'][:3], 'corners': given['corners'][:3]}
  (part,) = session.run(None, given)
  np.testing.assert_allclose(part, whole[:3], rtol=1e-5, atol=1e-6)
