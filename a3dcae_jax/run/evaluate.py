"""Score the checkpoint of a run or a sum of runs, and compare runs."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable, read_json, write_json
from a3dcae_jax.config import checked, fields
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.evaluation.calibrate import (
  CalibrationPlan,
  check_training_frames,
  load_or_calibrate,
  share_input_statistics,
)
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.clip_program import ClipProgram
from a3dcae_jax.evaluation.combine import ScoredRun, add_results
from a3dcae_jax.evaluation.evaluate import RunFacts, write_results
from a3dcae_jax.evaluation.frame_pictures import FramePictures
from a3dcae_jax.evaluation.mean_images import mean_image_ids
from a3dcae_jax.evaluation.program import make_recipe
from a3dcae_jax.evaluation.protocol import run_protocol
from a3dcae_jax.evaluation.report_data import ReportSource, report_title
from a3dcae_jax.evaluation.results import EvaluationResult, add_flow_baseline, find_errors
from a3dcae_jax.evaluation.scorer import CheckpointScorer, Scorer
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.run.objects import (
  ObjectRun,
  calibrate_objects,
  calibrating_videos,
  load_object_run,
  load_object_scorer,
  object_results,
  refuse_objects,
  score_objects,
)
from a3dcae_jax.run.overrides import Changes, settings_of_run
from a3dcae_jax.run.restore import restored_state
from a3dcae_jax.scoring.schema import validate_metrics
from a3dcae_jax.training import processes
from a3dcae_jax.training.parallel import LocalMap

NO_CHANGES = Changes()


def evaluate_again(workdir: str | pathlib.Path, changes: Changes = NO_CHANGES) -> dict[str, Any]:
  """Score the newest checkpoint of a run again, by its own config.

  This is `evaluate --workdir`.

  Args:
    workdir: folder of the run.
    changes: changes to the config.
  """
  workdir = pathlib.Path(workdir)
  values = processes.run_on_primary(
    'settings', lambda: workdirs.to_json(settings_of_run(workdir, changes))
  )
  settings = checked(values)
  return evaluate_run(settings, workdir, open_cache(settings.data, ('test',)))


def evaluate_run(
  settings: fields.Config,
  workdir: pathlib.Path,
  cache: FrameCache,
  program: ClipProgram | LocalMap | None = None,
) -> dict[str, Any]:
  """Score the newest checkpoint of a run and write its results.

  In a pod every process scores its share of the windows, and the primary process writes.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    cache: frame cache with the test split open. The training split is opened if the run has no
      calibration yet.
    program: the scoring program, if it is already compiled.

  Returns:
    The metrics, on every process.
  """
  if not cache.test.videos:
    raise UserError(f'{cache.index["name"]} has no test videos: there is nothing to score')
  processes.run_on_primary('provenance', lambda: _check_results(workdir))
  inputs = saved_inputs(settings, workdir, cache)
  if settings.objects.detector:
    scorer = load_object_scorer(settings, workdir, program)
    calibration = calibrate_objects(
      settings, workdir, scorer, lambda: with_training(settings, cache, inputs)
    )
    run = ObjectRun(settings, scorer, calibration, cache, inputs)
    return score_objects(run, workdir, run.score)
  scorer = load_scorer(settings, workdir, inputs, program)
  calibration = calibrate_run(settings, workdir, scorer, cache, inputs)
  result, facts = score_run(settings, scorer, calibration, cache, inputs)
  source = report_source(scorer, cache, facts)
  return processes.run_on_primary(
    'report', lambda: write_results(workdir, cache, source, result, facts)
  )


def evaluate_sum(
  folders: Sequence[str | pathlib.Path],
  workdir: str | pathlib.Path,
  changes: Changes = NO_CHANGES,
) -> dict[str, Any]:
  """Score by the sum of the errors of several runs.

  This is `evaluate --sum`. Scores are normalised, smoothed and thresholded as in the first run.

  Raises:
    UserError: for fewer than two runs, for a workdir that is a training run, and for runs whose
      frames, labels or kind of calibration differ.
  """
  workdir = pathlib.Path(workdir)
  if len(folders) < 2:
    raise UserError(f'--sum takes two or more folders of runs, got {len(folders)}')
  workdirs.check_takes_results(workdir, 'the sum')
  all_settings = [settings_of_run(folder, changes) for folder in folders]
  first = all_settings[0]
  caches = [open_cache(first.data, ('test',))]
  for settings in all_settings[1:]:
    is_same = settings.data == first.data
    caches.append(caches[0] if is_same else open_cache(settings.data, ('test',)))
  _check_summable(folders, all_settings, caches)
  provenances = {str(folder): workdirs.read_provenance(folder) for folder in folders}
  parts = [
    _part_of_sum(settings, pathlib.Path(folder), cache)
    for folder, settings, cache in zip(folders, all_settings, caches, strict=True)
  ]
  _write_sum_files(workdir, folders, all_settings, provenances, caches[0])
  added = add_results([part.scored for part in parts])
  protocol_runs = [run for part in parts for run in part.facts.protocol_runs]
  facts = parts[0].facts._replace(protocol_runs=protocol_runs)
  return write_results(workdir, caches[0], parts[0].source, added, facts)


class _PartOfSum(NamedTuple):
  """A run whose errors are added, with what a report of it needs."""

  scored: ScoredRun
  facts: RunFacts
  source: ReportSource


def _part_of_sum(settings: fields.Config, folder: pathlib.Path, cache: FrameCache) -> _PartOfSum:
  """Score a run that is added to others."""
  inputs = InputStatistics.load(folder, settings.data)
  if settings.objects.detector:
    training = with_training(settings, None, inputs)
    run = load_object_run(settings, folder, cache, inputs, lambda: training)
    first_frames = [video.first for video in calibrating_videos(settings, training.train)]
    result, facts, source = object_results(run, run.score)
    return _PartOfSum(ScoredRun(first_frames, result), facts, source)
  scorer = load_scorer(settings, folder, inputs)
  calibration = calibrate_run(settings, folder, scorer, cache, inputs)
  result, facts = score_run(settings, scorer, calibration, cache, inputs, localise=False)
  source = report_source(scorer, cache, facts)
  return _PartOfSum(ScoredRun(calibration.first_frames, result), facts, source)


def have_same_videos(cache: FrameCache, other: FrameCache) -> bool:
  """Return whether two caches hold the same test videos, maybe at different sizes."""
  if cache.test.frames.shape == other.test.frames.shape:
    return cache.data_hash == other.data_hash
  facts = []
  for each in (cache, other):
    videos = [(video.name, video.num_frames) for video in each.test.videos]
    labels = None if each.test.labels is None else each.test.labels.tolist()
    facts.append((videos, labels, each.index['label_set']))
  return facts[0] == facts[1]


def compare_runs(folders: Sequence[str | pathlib.Path], *, page: str = '') -> None:
  """Print runs side by side, a table for each protocol.

  This is `evaluate --compare`.

  Args:
    folders: workdirs of the runs.
    page: HTML file to write the tables to; empty for none.
  """
  from a3dcae_jax.report.compare import compare_text, group_runs, write_comparison

  if len(folders) < 2:
    raise UserError(f'--compare takes two or more folders of runs, got {len(folders)}')
  runs = []
  for folder in folders:
    path = pathlib.Path(folder) / 'metrics.json'
    runs.append((str(folder), validate_metrics(read_json(path), source=str(path))))
  groups = group_runs(runs)
  print(compare_text(groups))
  if page:
    write_comparison(page, groups)


def load_scorer(
  settings: fields.Config,
  workdir: str | pathlib.Path,
  inputs: InputStatistics,
  program: LocalMap | None = None,
) -> CheckpointScorer:
  """Return the scorer of a run's newest checkpoint.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    inputs: input statistics of the run.
    program: its program, if it is already compiled.

  Raises:
    UserError: if there is no checkpoint.
  """
  state = restored_state(settings, workdir)
  recipe = make_recipe(settings, inputs.row_scale)
  return CheckpointScorer(recipe, state, inputs.input_means, settings.clips.window, program)


def calibrate_run(
  settings: fields.Config,
  workdir: str | pathlib.Path,
  scorer: CheckpointScorer,
  cache: FrameCache | None,
  inputs: InputStatistics,
) -> Calibration:
  """Return the saved calibration of a run, or make it from its training videos.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    scorer: scorer of its checkpoint.
    cache: frame cache; its training split is used if it is open. With None, and without an open
      training split, the split is opened when it is needed.
    inputs: input statistics of the run.
  """
  return load_or_calibrate(
    pathlib.Path(workdir),
    scorer,
    calibration_plan(settings),
    inputs,
    lambda: with_training(settings, cache, inputs).train,
  )


def calibrate_trained(
  settings: fields.Config, workdir: pathlib.Path, cache: FrameCache, inputs: InputStatistics
) -> None:
  """Calibrate a run that has no test videos."""
  if settings.objects.detector:
    calibrate_objects(settings, workdir, load_object_scorer(settings, workdir), lambda: cache)
  else:
    calibrate_run(settings, workdir, load_scorer(settings, workdir, inputs), cache, inputs)


def with_training(
  settings: fields.Config, cache: FrameCache | None, inputs: InputStatistics
) -> FrameCache:
  """Return a frame cache of the run with the training split open.

  Args:
    settings: settings of the run.
    cache: returned as it is if its training split is open.
    inputs: input statistics of the run, which the training frames must fit.
  """
  if cache is not None and cache.train is not None:
    return cache
  opened = open_cache(settings.data, ('train',))
  check_training_frames(inputs, opened)
  return opened


def calibration_plan(settings: fields.Config) -> CalibrationPlan:
  """Return how a run is calibrated."""
  return CalibrationPlan(settings.eval, settings.data.mean_image, settings.train.holdout_videos)


def score_run(
  settings: fields.Config,
  scorer: Scorer,
  calibration: Calibration,
  cache: FrameCache,
  inputs: InputStatistics,
  *,
  localise: bool = True,
) -> tuple[EvaluationResult, RunFacts]:
  """Score the test frames and return the result with the facts for its report."""
  test = cache.test
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'test', test.videos)
  result = find_errors(scorer, test, ids, calibration, settings.eval, localise=localise)
  if settings.input.kind == 'flow':
    recipe = make_recipe(settings, inputs.row_scale)
    result = add_flow_baseline(result, recipe, inputs, test, ids)
  facts = RunFacts(settings, [run_protocol(settings, test)], inputs, ids)
  return result, facts


def report_source(scorer: Scorer, cache: FrameCache, facts: RunFacts) -> ReportSource:
  """Return the parts from which a report shows frames."""
  settings = facts.settings
  pictures = FramePictures(
    scorer=scorer,
    split=cache.test,
    stride=settings.eval.stride,
    ids=facts.ids,
    input_means=facts.inputs.input_means,
    row_scale=facts.inputs.row_scale,
  )
  return ReportSource(report_title(settings), scorer.step, cache.test, pictures)


def pictures_of_run(workdir: str | pathlib.Path) -> ReportSource:
  """Return the parts from which frames of a scored run can be shown."""
  workdir = pathlib.Path(workdir)
  settings = workdirs.read_config(workdir)
  refuse_objects(settings, 'pictures of whole frames')
  cache = open_cache(settings.data, ('test',))
  inputs = saved_inputs(settings, workdir, cache)
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'test', cache.test.videos)
  facts = RunFacts(settings, [run_protocol(settings, cache.test)], inputs, ids)
  return report_source(load_scorer(settings, workdir, inputs), cache, facts)


def saved_inputs(
  settings: fields.Config, workdir: pathlib.Path, cache: FrameCache
) -> InputStatistics:
  """Return the run's saved input statistics, on every process of a pod."""
  found = InputStatistics.load(workdir, settings.data) if processes.is_primary() else None
  return share_input_statistics(found, cache.test.frames.shape[1:])


def _check_results(workdir):
  """Check, before anything is scored, that the results can be written and explained."""
  workdirs.read_provenance(workdir)
  check_writable(workdir, '--workdir')


def _check_summable(folders, all_settings, caches):
  first = all_settings[0]
  first_cache = caches[0]
  for folder, settings, cache in zip(folders, all_settings, caches, strict=True):
    if not have_same_videos(cache, first_cache):
      raise UserError(
        f'--sum: frames or labels of {folder} ({cache.data_hash[:12]}) differ from those of '
        f'{folders[0]} ({first_cache.data_hash[:12]}): their errors cannot be added'
      )
    if settings.eval.per_position != first.eval.per_position:
      raise UserError(
        f'--sum: eval.per_position is {settings.eval.per_position} in {folder} and '
        f'{first.eval.per_position} in {folders[0]}: their errors cannot be added'
      )


def _write_sum_files(workdir, folders, all_settings, provenances, cache):
  configs = {}
  for folder, settings in zip(folders, all_settings, strict=True):
    configs[str(folder)] = workdirs.to_json(settings)
  write_json(workdir / workdirs.CONFIG, {'sum': configs})
  write_json(
    workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash) | {'sum': provenances}
  )
