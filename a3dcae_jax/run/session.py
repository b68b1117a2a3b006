"""What the commands do: each function makes the parts of one command from its config."""

import ast
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.config import checked, fields
from a3dcae_jax.data.download import fetch
from a3dcae_jax.data.frame_cache import SPLITS, FrameCache
from a3dcae_jax.evaluation.calibrate import (
  CalibrationPlan,
  calibration_windows,
  check_training_frames,
  find_input_statistics,
  load_or_calibrate,
  share_input_statistics,
)
from a3dcae_jax.evaluation.calibration import Calibration, InputStatistics
from a3dcae_jax.evaluation.combine import ScoredRun, add_results, sum_summary
from a3dcae_jax.evaluation.evaluate import RunFacts, write_results
from a3dcae_jax.evaluation.mean_images import mean_image_ids, mean_image_names
from a3dcae_jax.evaluation.program import make_recipe
from a3dcae_jax.evaluation.protocol import run_protocol
from a3dcae_jax.evaluation.report_data import ReportSource
from a3dcae_jax.evaluation.results import (
  EvaluationResult,
  add_flow_baseline,
  cut_windows,
  find_errors,
)
from a3dcae_jax.evaluation.scorer import BundleScorer, CheckpointScorer, Scorer
from a3dcae_jax.exporting.bundle import (
  BundleSource,
  bundle_calibration,
  bundle_inputs,
  export_bundle,
  one_mean_image,
)
from a3dcae_jax.exporting.summary import bundle_text
from a3dcae_jax.report.compare import compare_text, group_runs, write_comparison
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import ingest_table, prepare_data
from a3dcae_jax.run.lock import WorkdirLock
from a3dcae_jax.run.profiling import profile_hooks
from a3dcae_jax.run.train import TrainingData, fresh_state, train, trained_on
from a3dcae_jax.scoring.schema import validate_metrics
from a3dcae_jax.serving.bundle import check_replaceable, load_bundle
from a3dcae_jax.training import processes
from a3dcae_jax.training.checkpoints import Checkpoints, restored_for_all


def train_and_evaluate(
  settings: fields.Config, workdir: str | pathlib.Path, *, profile: str = ''
) -> dict[str, Any] | None:
  """Do what `main` does: prepare if needed, train or resume, evaluate, write the report.

  In a pod every process calls this; only the primary one reads and writes `workdir`.

  Args:
    settings: of the run.
    workdir: folder of the run.
    profile: 'START:STOP', updates to trace; empty for none.

  Returns:
    The metrics; None where there are no test videos.

  Raises:
    UserError: where another run has `workdir`, or the cache is not what was written.
    Preempted: after SIGTERM.
  """
  workdir = pathlib.Path(workdir)
  hooks = profile_hooks(profile, workdir, settings.train.steps)
  with WorkdirLock(workdir) as lock:
    processes.run_on_primary('config', lambda: _check_existing(settings, workdir, lock))
    cache = open_cache(settings.data)
    _check_videos(settings, cache)
    inputs = _input_statistics(settings, workdir, cache)
    check_training_frames(inputs, cache)
    processes.run_on_primary('workdir', lambda: _set_up(settings, workdir, cache, inputs, lock))
    ids = mean_image_ids(settings.data.mean_image, inputs.names, 'train', cache.train.videos)
    own_hooks = hooks if processes.is_primary() else ()
    train(settings, workdir, TrainingData(cache.train, inputs, ids), hooks=own_hooks)
    if cache.test.videos:
      return evaluate_run(settings, workdir, cache)
    calibrate_run(settings, workdir, load_scorer(settings, workdir, inputs), cache, inputs)
    processes.log_once(
      f'{cache.index["name"]} has no test videos: the run is trained and calibrated, '
      'there is nothing to score'
    )
    return None


def prepare_and_show(settings: fields.Config, *, download: bool = False) -> None:
  """Do what `prepare` does: fetch if asked to, ingest or open the cache, verify it, print it."""
  data = settings.data
  if download:
    if not data.root:
      raise UserError('--download needs data.root, the folder to fetch into')
    if not fetch(data.name, data.root):
      print(f'{data.root} is not empty: it is used as it is, nothing is fetched')
  cache = prepare_data(data)
  cache.verify()
  print(ingest_table(cache))


def evaluate_again(
  workdir: str | pathlib.Path,
  *,
  normalisation: str = '',
  data_root: str = '',
  overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
  """Do what `evaluate --workdir` does: score the newest checkpoint by the run's own config.

  Args:
    workdir: folder of the run.
    normalisation: heads the report; empty for the run's own.
    data_root: folder of the videos, if it has moved.
    overrides: field -> value as text; see `with_overrides`.
  """
  workdir = pathlib.Path(workdir)
  settings = processes.run_on_primary(
    'settings',
    lambda: workdirs.to_json(_settings_of_run(workdir, normalisation, data_root, overrides or {})),
  )
  settings = checked(settings)
  return evaluate_run(settings, workdir, open_cache(settings.data, ('test',)))


def evaluate_run(
  settings: fields.Config, workdir: pathlib.Path, cache: FrameCache
) -> dict[str, Any]:
  """Score the newest checkpoint of a run and write its results; return the metrics.

  In a pod every process scores its share of the windows; the primary one writes, and all get the
  metrics.

  Args:
    settings: of the run.
    workdir: folder of the run.
    cache: with the test split open; the training split is opened if the run has no calibration.
  """
  if not cache.test.videos:
    raise UserError(f'{cache.index["name"]} has no test videos: there is nothing to score')
  inputs = _saved_inputs(workdir, cache)
  scorer = load_scorer(settings, workdir, inputs)
  calibration = calibrate_run(settings, workdir, scorer, cache, inputs)
  result, facts = score_run(settings, scorer, calibration, cache, inputs)
  source = report_source(scorer, cache, facts)
  summary = calibration.summary(settings.eval.per_position)
  return processes.run_on_primary(
    'report', lambda: write_results(workdir, cache, source, summary, result, facts)
  )


def evaluate_sum(
  folders: Sequence[str | pathlib.Path],
  workdir: str | pathlib.Path,
  *,
  normalisation: str = '',
  data_root: str = '',
) -> dict[str, Any]:
  """Do what `evaluate --sum` does: score by the sum of the errors of several runs.

  Scores are normalised, smoothed and thresholded as in the first run.

  Raises:
    UserError: for fewer than two runs, a workdir that is a run, and runs whose errors do not add
      up: of other frames or labels, or calibrated in another way.
  """
  workdir = pathlib.Path(workdir)
  if len(folders) < 2:
    raise UserError(f'--sum takes two or more folders of runs, got {len(folders)}')
  workdirs.check_is_no_run(workdir, 'the sum')
  all_settings = [_settings_of_run(folder, normalisation, data_root, {}) for folder in folders]
  first = all_settings[0]
  caches = [open_cache(first.data, ('test',))]
  for settings in all_settings[1:]:
    is_same = settings.data == first.data
    caches.append(caches[0] if is_same else open_cache(settings.data, ('test',)))
  _check_summable(folders, all_settings, caches)
  scored, protocol_runs = [], []
  for folder, settings, cache in zip(folders, all_settings, caches, strict=True):
    inputs = InputStatistics.load(folder)
    scorer = load_scorer(settings, folder, inputs)
    calibration = calibrate_run(settings, folder, scorer, cache, inputs)
    result, facts = score_run(settings, scorer, calibration, cache, inputs, localise=False)
    scored.append(ScoredRun(calibration, result))
    protocol_runs += facts.protocol_runs
    if folder == folders[0]:
      first_scorer, first_facts = scorer, facts
  _write_sum_files(workdir, folders, all_settings, caches[0])
  added = add_results(scored)
  facts = first_facts._replace(protocol_runs=protocol_runs)
  source = report_source(first_scorer, caches[0], facts)
  summary = sum_summary(added, scored, first.eval.per_position)
  return write_results(workdir, caches[0], source, summary, added, facts)


def export_run(
  workdir: str | pathlib.Path,
  folder: str | pathlib.Path,
  *,
  data_root: str = '',
  cache: str = '',
  onnx: bool = False,
) -> None:
  """Do what `export` does: write the newest checkpoint of a run as a bundle, and print what it is.

  Args:
    workdir: folder of the run.
    folder: of the bundle.
    data_root: folder of the videos, if they have moved; only a run without calibration reads them.
    cache: frame cache, if it has moved; likewise.
    onnx: add `model.onnx`.
  """
  workdir = pathlib.Path(workdir)
  settings = _moved(_settings_of_run(workdir, '', data_root, {}), cache)
  check_replaceable(folder)
  if onnx:
    from a3dcae_jax.exporting.onnx_model import converter_packages

    converter_packages()  # a missing package is said before anything is computed
  inputs = InputStatistics.load(workdir)
  one_mean_image(inputs)
  scorer = load_scorer(settings, workdir, inputs)
  calibration = calibrate_run(settings, workdir, scorer, None, inputs)
  trained = read_json(workdir / workdirs.PROVENANCE)
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
  folder: str | pathlib.Path,
  workdir: str | pathlib.Path,
  *,
  normalisation: str = '',
  data_root: str = '',
  cache: str = '',
) -> dict[str, Any]:
  """Do what `evaluate --bundle` does: score a bundle on its run's data set, into `workdir`.

  The scores are those of `evaluate` on the run, to the bit on the same machine.

  Args:
    folder: of the bundle.
    workdir: folder for the results; not a training run.
    normalisation: heads the report; empty for the run's own.
    data_root: folder of the videos, if they have moved.
    cache: frame cache, if it has moved.
  """
  workdir = pathlib.Path(workdir)
  bundle = load_bundle(folder)
  workdirs.check_is_no_run(workdir, 'the bundle')
  settings = checked(bundle.manifest['config'])
  settings = _moved(_with_changes(settings, normalisation, data_root, {}), cache)
  opened = open_cache(settings.data, ('test',))
  trained_hash = bundle.manifest['data']['sha256']
  if opened.data_hash != trained_hash:
    print(
      'note: frames or labels are not those of the run: '
      f'{opened.data_hash[:12]}, not {trained_hash[:12]}'
    )
  write_json(workdir / workdirs.CONFIG, workdirs.to_json(settings))
  sources = {
    'bundle': {'folder': str(folder), 'sha256': bundle.manifest['sha256']},
    'exported': bundle.manifest['provenance'],
  }
  write_json(workdir / workdirs.PROVENANCE, workdirs.provenance(opened.data_hash) | sources)
  scorer = BundleScorer(bundle)
  inputs = bundle_inputs(bundle)
  calibration = bundle_calibration(bundle)
  result, facts = score_run(settings, scorer, calibration, opened, inputs)
  summary = calibration.summary(settings.eval.per_position)
  source = report_source(scorer, opened, facts)
  return write_results(workdir, opened, source, summary, result, facts)


def compare_runs(folders: Sequence[str | pathlib.Path], *, page: str = '') -> None:
  """Do what `evaluate --compare` does: print the tables, and write them to `page` if given."""
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


def open_cache(data: fields.Data, splits: Sequence[str] = SPLITS) -> FrameCache:
  """Open the frame cache of a data set, verified.

  In a pod process 0 makes it where it is not there; then the others open it, or make their own
  where no disk is shared.
  """
  cache = processes.primary_first('frame cache', lambda: _verified(data, splits))
  expected = processes.run_on_primary('data hash', lambda: cache.data_hash)
  if cache.data_hash != expected:
    raise UserError(
      f'{cache.folder}: its data hash is {cache.data_hash[:12]}, that of process 0 is '
      f'{expected[:12]}: copy one cache to all hosts'
    )
  return cache


def load_scorer(
  settings: fields.Config, workdir: str | pathlib.Path, inputs: InputStatistics
) -> CheckpointScorer:
  """Return the scorer of a run's newest checkpoint.

  Raises:
    UserError: where there is no checkpoint.
  """
  folder = pathlib.Path(workdir) / 'checkpoints'
  checkpoints = Checkpoints(folder, keep=settings.train.keep_checkpoints)
  try:
    if processes.is_primary() and checkpoints.latest_step() is None:
      raise UserError(f'{folder}: no checkpoint to evaluate; train first')
    state, _ = restored_for_all(checkpoints, lambda: fresh_state(settings))
  finally:
    checkpoints.close()
  recipe = make_recipe(settings, inputs.row_scale)
  return CheckpointScorer(recipe, state, inputs.input_means, settings.clips.window)


def calibrate_run(
  settings: fields.Config,
  workdir: str | pathlib.Path,
  scorer: CheckpointScorer,
  cache: FrameCache | None,
  inputs: InputStatistics,
) -> Calibration:
  """Return the saved calibration of a run, or make it from its training videos.

  Args:
    settings: of the run.
    workdir: folder of the run.
    scorer: of its checkpoint.
    cache: whose training split is used if it is open; None opens it when it is needed.
    inputs: of the run.
  """

  def open_training():
    if cache is not None and cache.train is not None:
      return cache.train
    opened = open_cache(settings.data, ('train',))
    check_training_frames(inputs, opened)
    return opened.train

  return load_or_calibrate(
    pathlib.Path(workdir), scorer, calibration_plan(settings), inputs, open_training
  )


def calibration_plan(settings: fields.Config) -> CalibrationPlan:
  """Return what a run's calibration is made by."""
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
  """Score the test frames; return what was found and the facts that figures name."""
  test = cache.test
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'test', test.videos)
  result = find_errors(scorer, test, ids, calibration, settings.eval, localise=localise)
  if settings.input.kind == 'flow':
    recipe = make_recipe(settings, inputs.row_scale)
    result = add_flow_baseline(result, recipe, inputs, test, ids)
  facts = RunFacts(settings, [run_protocol(settings, test)], inputs, ids)
  return result, facts


def report_source(scorer: Scorer, cache: FrameCache, facts: RunFacts) -> ReportSource:
  """Return what a report shows frames with."""
  settings = facts.settings
  return ReportSource(
    title=f'{settings.data.name} {settings.variant}: abnormal events',
    scorer=scorer,
    split=cache.test,
    stride=settings.eval.stride,
    ids=facts.ids,
    input_means=facts.inputs.input_means,
    row_scale=facts.inputs.row_scale,
  )


def with_overrides(settings: fields.Config, overrides: Mapping[str, str]) -> fields.Config:
  """Return settings with some fields changed, for `evaluate --override`.

  Args:
    settings: of a run.
    overrides: field, as 'eval.stride', -> value as text. Fields of `eval` and `events`,
      `data.label_set` and `data.options` may be changed: none of them is trained.
  """
  values = workdirs.to_json(settings)
  for field, text in overrides.items():
    parts = field.split('.')
    if parts[0] not in ('eval', 'events') and not field.startswith(
      ('data.label_set', 'data.options')
    ):
      raise UserError(
        f'--override: {field} cannot be changed after training; fields of eval and events, '
        'data.label_set and data.options can'
      )
    node = values
    for part in parts[:-1]:
      node = node.get(part, {}) if isinstance(node, dict) else {}
    if not isinstance(node, dict) or parts[-1] not in node:
      raise UserError(f'--override: there is no field {field}; see docs/reference/config.md')
    node[parts[-1]] = _literal(text)
  return checked(values)


def _literal(text: str) -> Any:
  """Text as a Python value; what is no literal is a string."""
  if text in ('true', 'false'):
    return text == 'true'
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def _settings_of_run(workdir, normalisation, data_root, overrides):
  settings = workdirs.read_config(pathlib.Path(workdir))
  return _with_changes(settings, normalisation, data_root, overrides)


def _moved(settings, cache):
  """Settings with another frame cache; '' leaves them."""
  if not cache:
    return settings
  return dataclasses.replace(settings, data=dataclasses.replace(settings.data, cache=cache))


def _with_changes(settings, normalisation, data_root, overrides):
  if normalisation:
    overrides = {**overrides, 'eval.normalisation': normalisation}
  settings = with_overrides(settings, overrides)
  if data_root:
    data = dataclasses.replace(settings.data, root=data_root, cache='')
    settings = dataclasses.replace(settings, data=data)
  return settings


def _verified(data, splits):
  cache = prepare_data(data, splits)
  if processes.is_primary():
    cache.verify(splits)
  return cache


def _check_existing(settings, workdir, lock):
  """Refuses a foreign workdir at once, before any video is read."""
  if (workdir / workdirs.CONFIG).exists():
    lock.take()
    workdirs.init_or_check_workdir(workdir, settings)


def _check_videos(settings, cache):
  """Raises before training what would end training or evaluation."""
  trained_on(cache.train.videos, settings.train.holdout_videos)
  mode = settings.data.mean_image
  names = mean_image_names(mode, cache.train, cache.test)
  mean_image_ids(mode, names, 'test', cache.test.videos)
  if cache.test.videos:
    cut_windows(cache.test, settings.clips.window, settings.eval)
    plan = calibration_plan(settings)
    calibration_windows(plan, cache.train.videos, settings.clips.window)


def _input_statistics(settings, workdir, cache):
  """The run's saved input statistics, or new ones; the same on every process of a pod."""

  def find():
    if InputStatistics.exists(workdir):
      return InputStatistics.load(workdir)
    return find_input_statistics(settings.data.mean_image, settings.input, cache)

  found = find() if processes.is_primary() else None
  return share_input_statistics(found, cache.train.frames.shape[1:])


def _saved_inputs(workdir, cache):
  """The run's saved input statistics, on every process of a pod."""
  found = InputStatistics.load(workdir) if processes.is_primary() else None
  return share_input_statistics(found, cache.test.frames.shape[1:])


def _set_up(settings, workdir, cache, inputs, lock):
  """Makes the workdir, now that all that can be checked is checked."""
  lock.take()
  workdirs.init_or_check_workdir(workdir, settings)
  if not InputStatistics.exists(workdir):
    inputs.save(workdir)
  write_json(workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash))


def _check_summable(folders, all_settings, caches):
  first, first_cache = all_settings[0], caches[0]
  for folder, settings, cache in zip(folders, all_settings, caches, strict=True):
    if cache.data_hash != first_cache.data_hash:
      raise UserError(
        f'--sum: frames and labels of {folder} ({cache.data_hash[:12]}) are not those of '
        f'{folders[0]} ({first_cache.data_hash[:12]}): errors of other frames do not add up'
      )
    if settings.eval.per_position != first.eval.per_position:
      raise UserError(
        f'--sum: eval.per_position is {settings.eval.per_position} in {folder}, '
        f'{first.eval.per_position} in {folders[0]}: such errors do not add up'
      )


def _write_sum_files(workdir, folders, all_settings, cache):
  configs = {}
  provenances = {}
  for folder, settings in zip(folders, all_settings, strict=True):
    configs[str(folder)] = workdirs.to_json(settings)
    provenances[str(folder)] = read_json(pathlib.Path(folder) / workdirs.PROVENANCE)
  write_json(workdir / workdirs.CONFIG, {'sum': configs})
  write_json(
    workdir / workdirs.PROVENANCE, workdirs.provenance(cache.data_hash) | {'sum': provenances}
  )
