"""Write the checkpoint of a run as a bundle, and score a bundle."""

import pathlib
from typing import Any

from a3dcae_jax.common.files import write_json
from a3dcae_jax.config import checked
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.evaluate import write_results
from a3dcae_jax.evaluation.scorer import BundleScorer
from a3dcae_jax.exporting.bundle import (
  BundleSource,
  bundle_calibration,
  bundle_inputs,
  export_bundle,
  one_mean_image,
)
from a3dcae_jax.exporting.summary import bundle_text
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.evaluate import (
  NO_CHANGES,
  calibrate_run,
  load_scorer,
  report_source,
  score_run,
)
from a3dcae_jax.run.objects import refuse_objects
from a3dcae_jax.run.overrides import Changes, settings_of_run, with_changes
from a3dcae_jax.serving.bundle import check_replaceable, load_bundle


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
    changes: changes to the config. Videos are read only if the run has no calibration yet.
    onnx: whether to add `model.onnx`.
  """
  workdir = pathlib.Path(workdir)
  settings = settings_of_run(workdir, changes)
  refuse_objects(settings, 'export')
  check_replaceable(folder)
  if onnx:
    from a3dcae_jax.exporting.onnx_model import converter_packages

    converter_packages()  # names a missing package before anything is computed
  trained = workdirs.read_provenance(workdir)
  inputs = InputStatistics.load(workdir, settings.data)
  one_mean_image(inputs)
  scorer = load_scorer(settings, workdir, inputs)
  calibration = calibrate_run(settings, workdir, scorer, None, inputs)
  details = {
    'events': {'frames_per_s': settings.events.frames_per_s},
    'data': {'name': settings.data.name, 'sha256': trained['data_sha256']},
    'config': workdirs.to_json(settings),
    'provenance': {
      'checkpoint_step': scorer.step,
      'seed': settings.seed,
      'variant': settings.variant,
      'trained': trained,
      'exported': workdirs.provenance(trained['data_sha256']),
    },
  }
  source = BundleSource(scorer, calibration, inputs, settings.events, details)
  export_bundle(folder, source, onnx=onnx)
  print(bundle_text(load_bundle(folder)))


def evaluate_bundle(
  folder: str | pathlib.Path, workdir: str | pathlib.Path, changes: Changes = NO_CHANGES
) -> dict[str, Any]:
  """Score a bundle on the data set of its run.

  This is `evaluate --bundle`. On the same machine the scores equal those of the run to the bit.

  Args:
    folder: folder of the bundle.
    workdir: folder for the results; not a training run.
    changes: changes to the config.
  """
  workdir = pathlib.Path(workdir)
  bundle = load_bundle(folder)
  workdirs.check_is_no_run(workdir, 'the bundle')
  settings = with_changes(checked(bundle.manifest['config']), changes)
  cache = open_cache(settings.data, ('test',))
  trained_hash = bundle.manifest['data']['sha256']
  if cache.data_hash != trained_hash:
    print(
      f'note: the data hash is {cache.data_hash[:12]}, that of the run was {trained_hash[:12]}: '
      'frames or labels have changed'
    )
  write_json(workdir / workdirs.CONFIG, workdirs.to_json(settings))
  sources = {
    'bundle': {'folder': str(folder), 'sha256': bundle.manifest['sha256']},
    'exported': bundle.manifest['provenance'],
  }
  write_json(workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash) | sources)
  scorer = BundleScorer(bundle)
  inputs = bundle_inputs(bundle)
  calibration = bundle_calibration(bundle)
  result, facts = score_run(settings, scorer, calibration, cache, inputs)
  source = report_source(scorer, cache, facts)
  return write_results(workdir, cache, source, result, facts)
