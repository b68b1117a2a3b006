"""The protocol of a run as data: how its figures were computed."""

from typing import Any

from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import fitting_stride
from a3dcae_jax.serving.object_statistics import MEASUREMENTS

MACRO_RULE = 'mean over videos that have both classes'


def run_protocol(settings: fields.Config, split: Split) -> dict[str, Any]:
  """Return how the errors of one run are computed.

  `docs/reference/outputs.md` describes the fields, `scoring.protocol` reads them.

  Args:
    settings: settings of the run.
    split: the test split; videos that are too short for the stride take a smaller one.
  """
  options, loss = settings.eval, settings.loss
  masked = None
  if loss.mask_period:
    masked = {'period': loss.mask_period, 'length': loss.mask_length}
  is_local = options.error == 'local'
  objects = None
  if settings.objects.detector:
    objects = {
      'detector': settings.objects.detector,
      'min_score': settings.objects.min_score,
      'classes': list(settings.objects.classes),
      'min_size_px': settings.objects.min_size_px,
      'max_per_frame': settings.objects.max_per_frame,
      'crop_px': settings.objects.crop_px,
      'weights': dict(zip(MEASUREMENTS, options.object_weights, strict=True)),
    }
  step = options.object_step if objects else options.window_step or settings.clips.window
  return {
    'objects': objects,
    'error': {
      'kind': options.error,
      'network_weight': options.network_weight if is_local else None,
      'masked_frames': masked,
    },
    'input': {
      'kind': settings.input.kind,
      'target_rms': settings.input.target_rms,
      'perspective': settings.input.perspective,
      'mean_image': settings.data.mean_image,
    },
    'windows': {
      'frames': settings.clips.window,
      'step_frames': step,
      'stride': options.stride,
      'shorter_strides': _shorter_strides(split, settings.clips.window, options.stride),
      'averaging': 'mean' if options.window_step and not objects else 'none',
    },
    'per_position': options.per_position,
    'calibrated_on': 'held-out videos' if settings.train.holdout_videos else 'training videos',
  }


def protocol(
  runs: list[dict[str, Any]], options: fields.Eval, label_set: str | None
) -> dict[str, Any]:
  """Return the protocol of an evaluation.

  Args:
    runs: the `run_protocol` of each run; several for a sum of runs.
    options: the config's `eval`.
    label_set: name of the labels; None without labels.
  """
  return {
    'runs': runs,
    'normalisation': options.normalisation,
    'smoothing': {
      'frames': options.smoothing_frames,
      'mode': options.smoothing_mode,
      'of': 'errors' if any(run['objects'] for run in runs) else 'scores',
    },
    'label_set': label_set,
    'macro_rule': MACRO_RULE,
  }


def _shorter_strides(split, window, stride):
  """Return the strides of the test videos that are too short for `stride`, by name."""
  shorter = {}
  for video in split.videos:
    own = fitting_stride(video, window=window, stride=stride)
    if own < stride:
      shorter[video.name] = own
  return shorter
