"""Write the checkpoint of a run as a bundle, and score a bundle."""

import functools
import pathlib
from typing import Any

from a3dcae_jax.common.files import write_json
from a3dcae_jax.config import checked
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.evaluate import write_results
from a3dcae_jax.evaluation.object_scorer import ObjectBundleScorer
from a3dcae_jax.evaluation.scored_objects import found_by
from a3dcae_jax.evaluation.scorer import BundleScorer
from a3dcae_jax.exporting.bundle import (
  BundleSource,
  bundle_calibration,
  bundle_inputs,
  export_bundle,
  one_mean_image,
)
from a3dcae_jax.exporting.detection_check import clips_with_objects
from a3dcae_jax.exporting.object_bundle import (
  ObjectBundleSource,
  bundle_object_calibration,
  bundle_object_inputs,
  describe_detector,
  detector_model,
  export_object_bundle,
)
from a3dcae_jax.exporting.summary import bundle_text
from a3dcae_jax.objects.detectors import make_detector
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.evaluate import (
  NO_CHANGES,
  calibrate_run,
  load_scorer,
  report_source,
  score_run,
  with_training,
)
from a3dcae_jax.run.objects import (
  ObjectRun,
  calibrate_objects,
  calibrating_videos,
  load_object_scorer,
  object_batch_size,
  score_objects,
)
from a3dcae_jax.run.overrides import Changes, settings_of_run, with_changes
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.folder import check_replaceable
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.training import processes


def export_run(
  workdir: str | pathlib.Path,
  folder: str | pathlib.Path,
  changes: Changes = NO_CHANGES,
  *,
  onnx: bool = False,
) -> None:
  """Write the newest checkpoint of a run as a bundle and print its content.

  This is `export`.

  Args:
    workdir: folder of the run.
    folder: folder of the bundle.
    changes: changes to the config. Videos are read only if the run has no calibration yet, or if
      the bundle finds objects by itself, which is checked on them.
    onnx: whether to add `model.onnx`.
  """
  workdir = pathlib.Path(workdir)
  settings = settings_of_run(workdir, changes)
  check_replaceable(folder)
  if onnx:
    from a3dcae_jax.exporting.onnx_model import converter_packages

    converter_packages()  # names a missing package before anything is computed
  trained = workdirs.read_provenance(workdir)
  inputs = InputStatistics.load(workdir, settings.data)
  if settings.objects.detector:
    export_object_bundle(folder, _object_source(settings, workdir, inputs, trained), onnx=onnx)
  else:
    export_bundle(folder, _frame_source(settings, workdir, inputs, trained), onnx=onnx)
  print(bundle_text(load_bundle(folder)))


def _frame_source(settings, workdir, inputs, trained):
  """Return the content of a bundle of whole frames."""
  one_mean_image(inputs)
  scorer = load_scorer(settings, workdir, inputs)
  calibration = calibrate_run(settings, workdir, scorer, None, inputs)
  details = _details(settings, trained, scorer.step)
  return BundleSource(scorer, calibration, inputs, settings.events, details)


def _object_source(settings, workdir, inputs, trained):
  """Return the content of a bundle of objects."""
  detector = make_detector(settings.objects.detector)
  described, files = describe_detector(open_cache(settings.data, ()), detector)
  scorer = load_object_scorer(settings, workdir)
  open_training = functools.cache(lambda: with_training(settings, None, inputs))
  calibration = calibrate_objects(settings, workdir, scorer, open_training)
  details = _details(settings, trained, scorer.step)
  model = detector_model(detector)
  clips = None
  if model is not None:
    split = open_training().train
    videos = calibrating_videos(settings, split)
    clips = clips_with_objects(calibration, split, videos, scorer.window)
  return ObjectBundleSource(
    scorer,
    calibration,
    inputs,
    settings,
    described,
    model,
    files,
    details,
    clips,
  )


def _details(settings, trained, step):
  """Return the fields of `detector.json` on the data, the config and the provenance."""
  return {
    'events': {'frames_per_s': settings.events.frames_per_s},
    'data': {'name': settings.data.name, 'sha256': trained['data_sha256']},
    'config': workdirs.to_json(settings),
    'provenance': {
      'checkpoint_step': step,
      'seed': settings.seed,
      'variant': settings.variant,
      'trained': trained,
      'exported': workdirs.provenance(trained['data_sha256']),
    },
  }


def evaluate_bundle(
  folder: str | pathlib.Path, workdir: str | pathlib.Path, changes: Changes = NO_CHANGES
) -> dict[str, Any]:
  """Score a bundle on the data set of its run.

  This is `evaluate --bundle`. On the same machine the scores equal those of the run to the bit; to
  rounding, if the bundle finds its boxes. In a pod every process scores its share.

  Args:
    folder: folder of the bundle.
    workdir: folder for the results; not a training run.
    changes: changes to the config.
  """
  workdir = pathlib.Path(workdir)
  bundle = load_bundle(folder)
  processes.run_on_primary('results', lambda: workdirs.check_takes_results(workdir, 'the bundle'))
  settings = with_changes(checked(bundle.manifest['config']), changes)
  cache = open_cache(settings.data, ('test',))
  trained_hash = bundle.manifest['data']['sha256']
  if cache.data_hash != trained_hash:
    processes.log_once(
      f'note: the data hash is {cache.data_hash[:12]}, that of the run was {trained_hash[:12]}: '
      'frames or labels have changed'
    )
  processes.run_on_primary(
    'files', lambda: _write_bundle_files(folder, workdir, bundle, settings, cache)
  )
  if isinstance(bundle, ObjectBundle):
    return _evaluate_objects(bundle, workdir, settings, cache)
  scorer = BundleScorer(bundle)
  inputs = bundle_inputs(bundle)
  calibration = bundle_calibration(bundle)
  result, facts = score_run(settings, scorer, calibration, cache, inputs)
  source = report_source(scorer, cache, facts)
  return processes.run_on_primary(
    'report', lambda: write_results(workdir, cache, source, result, facts)
  )


def _write_bundle_files(folder, workdir, bundle, settings, cache):
  """Write where the results of a bundle come from."""
  write_json(workdir / workdirs.CONFIG, workdirs.to_json(settings))
  sources = {
    'bundle': {'folder': str(folder), 'sha256': bundle.manifest['sha256']},
    'exported': bundle.manifest['provenance'],
  }
  write_json(workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash) | sources)


def _evaluate_objects(bundle, workdir, settings, cache):
  """Score the objects of the test videos.

  A bundle that finds boxes scores by its one program. Otherwise boxes are those of the frame cache.
  """
  scorer = ObjectBundleScorer(bundle)
  calibration = bundle_object_calibration(bundle)
  run = ObjectRun(settings, scorer, calibration, cache, bundle_object_inputs(bundle))
  if not bundle.finds_boxes:
    _note_other_boxes(bundle, settings, cache)
    return score_objects(run, workdir, run.score)

  def score():
    step, size = settings.eval.object_step, object_batch_size(settings)
    return found_by(bundle, cache.test, step=step, batch_size=size)

  return score_objects(run, workdir, score)


def _note_other_boxes(bundle, settings, cache):
  """Print a note where the boxes of the cache and of the run have other detectors."""
  expected = bundle.manifest['boxes']['detector']
  detector = make_detector(settings.objects.detector)
  found, _ = processes.primary_first('detector', lambda: describe_detector(cache, detector))
  if found != expected:
    processes.log_once(
      f'note: boxes are found by {found["name"]} with SHA-256 {found["sha256"][:12]}, those of the '
      f'run by {expected["name"]} with {expected["sha256"][:12]}: the boxes may differ'
    )
