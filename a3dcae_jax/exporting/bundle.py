"""From a run's checkpoint to a detector bundle, and a bundle scored as its run would be."""

import pathlib

import jax
import numpy as np
from jax import export
from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json, write_json
from a3dcae_jax.evaluation.calibrate import calibrated_stride, load_calibrated, training_errors
from a3dcae_jax.evaluation.evaluate import Errors, evaluate_run, event_threshold
from a3dcae_jax.evaluation.mean_images import network_mean
from a3dcae_jax.evaluation.program import scoring_program
from a3dcae_jax.evaluation.scorer import Detector
from a3dcae_jax.exporting.summary import bundle_text
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.run.datasets import prepare_data
from a3dcae_jax.run.networks import sees_flow
from a3dcae_jax.serving.artefact import DTYPES, export_program
from a3dcae_jax.serving.bundle import check_replaceable, load_bundle, write_bundle

_FLOW_DIFFERS = 1e-4  # between the mean flow that two machines find; the mean of frames is exact
_QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


def export_run(workdir, folder, *, data_root='', cache='', onnx=False):
  """Does all of `export`: calibrates the newest checkpoint on training frames, compares checkpoint and artefact, writes the bundle, says what it wrote."""
  config = workdirs.read_config(workdir)
  check_replaceable(folder)
  if onnx:
    from a3dcae_jax.exporting.onnx_model import convert_and_check, converter_packages

    converter_packages()  # before minutes go by
  frames = prepare_data(**_data(config, data_root, cache))
  mean_image = _mean_image(config, workdir, frames)
  detector = load_calibrated(config, workdir, frames)
  details = {
    'calibration': calibration(config, *training_errors(config, detector, frames)),
    **_details(config, workdir, frames, detector),
  }
  models = {
    dtype: export_program(
      scoring_program(config, 'cpu'),
      scoring_program(config, 'accelerator'),
      detector.weights,
      mean_image,
      window=config.clips.window,
      dtype=dtype,
    )
    for dtype in DTYPES
  }
  clips, extra_files = _some_clips(config, frames), {}
  details['check'] = _compare(detector, models['uint8'], mean_image, clips)
  if onnx:
    extra_files['model.onnx'], details['onnx'] = convert_and_check(
      config, detector.weights, mean_image, clips
    )
  write_bundle(
    folder,
    models=models,
    weights=detector.weights,
    mean_image=mean_image,
    window=config.clips.window,
    stride=calibrated_stride(config, frames),
    details=details,
    extra_files=extra_files,
  )
  print(bundle_text(load_bundle(folder)))


def evaluate_bundle(folder, workdir, *, normalisation='', data_root='', cache=''):
  """Does all of `evaluate --bundle`: scores the bundle on its run's data set as `evaluate` scores the run, into `workdir`; returns the metrics."""
  workdir, bundle = pathlib.Path(workdir), load_bundle(folder)
  workdirs.check_is_no_run(workdir, "the bundle's")
  config = config_dict.ConfigDict(workdirs.tuples(bundle.manifest['config']))
  config.eval.normalisation = normalisation or config.eval.normalisation
  frames = prepare_data(**_data(config, data_root, cache))
  if frames.data_hash != bundle.manifest['data']['sha256']:
    print(
      f'note: these are other frames or labels than the run had: {frames.data_hash[:12]}, not {bundle.manifest["data"]["sha256"][:12]}'
    )
  write_json(workdir / 'config.json', workdirs.plain(config))
  write_json(
    workdir / 'provenance.json',
    workdirs.provenance(frames)
    | {
      'bundle': {'folder': str(folder), 'sha256': bundle.manifest['sha256']},
      'exported': bundle.manifest['provenance'],
    },
  )
  return evaluate_run(config, workdir, frames, detector_of(bundle))


def detector_of(bundle):
  """A `Detector` that scores by the bundle's program, with the weights and the calibration in the bundle."""
  return Detector(
    program=lambda weights, mean_image, clips: bundle(clips),
    weights={},
    mean_image=bundle.mean_image,
    reconstruct=None,
    feature_maps=None,
    step=bundle.manifest['provenance']['checkpoint_step'],
  )


def calibration(config, errors, by_video):
  """Statistics of training errors for JSON: by place in the window, of frames as they are scored, and the threshold that events start at.

  Args: config. errors: [M, T] of training windows. by_video: as `training_errors` gives it.
  """
  position_mean, options = errors.mean(0), config.eval
  scored = Errors([], by_video(position_mean if options.divide_by_position else 1.0))
  smoothing, frames = (
    (options.smoothing_frames, options.smoothing_mode),
    np.concatenate(scored.train),
  )
  scores = np.concatenate(scored.train_scores(smoothing))
  return {
    'of': 'held-out training videos' if config.train.holdout_videos else 'training videos',
    'windows': len(errors),
    'frames': len(frames),
    'position_mean': errors.mean(0, dtype=np.float64).tolist(),
    'position_std': errors.std(0, dtype=np.float64).tolist(),
    'every_frames': options.every_frames,
    'divide_by_position': options.divide_by_position,
    'mean': float(frames.mean()),
    'std': float(frames.std()),
    'smoothing_frames': options.smoothing_frames,
    'smoothing_mode': options.smoothing_mode,
    'threshold': event_threshold(options, scored, smoothing),
    'threshold_rule': options.threshold_rule,
    'threshold_value': options.threshold_value,
    'threshold_of': 'scores (error - mean) / std, errors divided by position_mean first if divide_by_position, '
    'averaged over windows every_frames apart if not 0, smoothed over smoothing_frames',
    'score_quantiles': {str(q): float(np.quantile(scores, q)) for q in _QUANTILES},
  }


def _data(config, data_root, cache):
  """The config's data subtree, the footage or the frame cache taken from elsewhere where that is given."""
  return {
    **config.data,
    **({'root': data_root, 'cache': ''} if data_root else {}),
    **({'cache': cache} if cache else {}),
  }


def _mean_image(config, workdir, frames):
  """The run's mean image; a `UserError` if the training frames at hand have another: they could not calibrate it."""
  path = pathlib.Path(workdir) / 'mean_image.npy'
  if not path.exists():
    raise UserError(f'{path} does not exist: {workdir} is not a whole run')
  mean_image = np.load(path, allow_pickle=False)
  if mean_image.ndim != 2:
    raise UserError(
      f'{path} is {list(mean_image.shape)}: a bundle has one mean image, this run (data.mean_image={frames.means}) has {len(mean_image)}'
    )
  if not np.allclose(
    mean_image, network_mean(config, frames), rtol=0, atol=_FLOW_DIFFERS if sees_flow(config) else 0
  ):
    raise UserError(
      f'{frames.folder} holds other training frames than {workdir} was trained on (their mean image differs): they cannot calibrate it'
    )
  return mean_image


def _some_clips(config, frames):
  """Up to an evaluation batch of clips, spread over the training frames: uint8 [B, T, H, W]."""
  window = config.clips.window
  firsts = np.concatenate(
    [
      video.first + np.arange(0, video.num_frames - window + 1, window)
      for video in frames.train.videos
    ]
  )
  chosen = firsts[np.unique(np.linspace(0, len(firsts) - 1, config.eval.batch_size).astype(int))]
  return np.asarray(frames.train.frames)[chosen[:, None] + np.arange(window)]


def _compare(detector, model, mean_image, clips):
  """The artefact, read back from its bytes, against the checkpoint: the largest difference of errors and maps. Raises RuntimeError if they disagree."""
  read = jax.jit(export.deserialize(model.serialize()).call)
  (errors, maps), (expected, expected_maps) = jax.device_get(
    (read(detector.weights, mean_image, clips), detector.errors(clips))
  )
  if not np.allclose(errors, expected, rtol=0.02):
    raise RuntimeError(
      f'the exported program disagrees with the checkpoint: errors {errors.ravel()[:4]}, not {expected.ravel()[:4]}'
    )
  difference = max(np.abs(errors - expected).max(), np.abs(maps - expected_maps).max())
  return {
    'clips': len(clips),
    'platform': jax.default_backend(),
    'max_difference': float(difference),
  }


def _details(config, workdir, frames, detector):
  run = pathlib.Path(workdir) / 'provenance.json'
  options = config.eval
  return {
    'error': {
      'kind': options.error,
      'block_px': options.block_px,
      'sigma_px': options.sigma_px,
      'local': dict(options.get('local', {})),
      'mask_period': config.objective.mask_period,
      'mask_length': config.objective.mask_length,
    },
    'events': {
      'persistence': options.event_persistence,
      'window_frames': options.event_window_frames,
      'merge_frames': options.merge_frames,
      'frames_per_s': options.frames_per_s,
    },
    'data': {
      'name': config.data.name,
      'label_set': frames.index['label_set'] if frames.test.labels is not None else None,
      'layout': frames.index['layout'],
      'sha256': frames.data_hash,
    },
    'config': workdirs.plain(config),
    'provenance': {
      'checkpoint_step': detector.step,
      'seed': config.seed,
      'variant': config.variant,
      'trained': read_json(run) if run.exists() else None,
      'exported': workdirs.provenance(frames),
    },
  }
