"""The text that an export prints."""

from typing import Any

from a3dcae_jax.serving.bundle import Bundle
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.stream_events import duration_text, rate_text


def bundle_text(bundle: Bundle | ObjectBundle) -> str:
  """Describe a bundle: its files, threshold and check, and how to load it."""
  manifest = bundle.manifest
  files = manifest['files']
  total_mb = sum(entry['bytes'] for entry in files.values()) / 1e6
  step = manifest['provenance']['checkpoint_step']
  lines = [f'{bundle.folder}: {total_mb:.2f} MB, checkpoint of step {step}']
  if isinstance(bundle, ObjectBundle):
    own_lines, texts, unit, call = _object_texts(bundle)
  else:
    own_lines, texts, unit, call = _frame_texts(bundle)
  lines += own_lines
  for name, entry in files.items():
    lines.append(f'  {name:22s}{entry["bytes"] / 1e3:10,.1f} kB  {texts.get(name, "")}'.rstrip())
  calibration = manifest['calibration']
  check = manifest['check']
  lines += [
    f'threshold {calibration["threshold"]:.3f} by {calibration["threshold_rule"]} '
    f'{calibration["threshold_value"]} of {calibration["frames"]} frames '
    f'of {calibration["videos"]}',
    _stream_text(manifest['stream']),
    f'checked on {check[unit]} {unit}, {check["platform"]}: '
    f'largest difference to the checkpoint {check["max_difference"]:.3g}',
    *_detection_lines(check.get('detection')),
    f'loads with jax >= {manifest["loads_with"]["jax_at_least"]}, numpy and flatbuffers '
    '(pip install --no-deps for this package):',
    '  from a3dcae_jax.serving.bundle import load_bundle',
    f'  detector = load_bundle({str(bundle.folder)!r})',
    f'  abnormal = {call} > detector.threshold  # frames uint8 [N, H, W]',
  ]
  return '\n'.join(lines)


def _frame_texts(bundle):
  """Return further lines, a text per file, the checked unit, and the call."""
  lines = []
  if bundle.stride > 1:
    lines.append(f'  the frames of a clip are {bundle.stride} apart')
  shape = f'{bundle.window}, {bundle.height}, {bundle.width}'
  texts = {
    'model.stablehlo': f'clips uint8 [B, {shape}] -> errors [B, {bundle.window}], '
    f'maps [B, {shape}]; {_platforms(bundle)}',
    'model_float.stablehlo': 'the same for float32 clips in [0, 1]',
    'weights.npz': 'plain arrays, no pickle',
    'mean_image.npy': 'float32 [H, W]',
    'frame_mean.npy': 'float32 [H, W], mean image of frames',
    'calibration.json': 'errors of training videos',
    'model.onnx': _onnx_text(bundle.manifest.get('onnx')),
  }
  return lines, texts, 'clips', 'detector.score_video(frames)'


def _object_texts(bundle):
  """Return the same for a bundle of objects."""
  detector = bundle.manifest['boxes']['detector']
  lines = [f'  boxes by {detector["name"]}, SHA-256 {detector["sha256"][:12]}']
  onnx = bundle.manifest.get('onnx')
  texts = {
    'model.stablehlo': f'frames uint8 [N, {bundle.height}, {bundle.width}], rows [B, '
    f'{bundle.window}], corners [B, 4] -> measurements [B, 5]; {_platforms(bundle)}',
    'weights.npz': 'plain arrays, no pickle',
    'statistics.npz': 'of training objects, by energy and height',
    'objects.npz': 'measurements of training objects',
    'inputs.npz': 'mean images, for the baselines',
    'detection.stablehlo': f'frames uint8 [N, {bundle.height}, {bundle.width}], rows [B, '
    f'{bundle.window}] -> corners [B, K, 4], valid, errors, worst, zscores; {_platforms(bundle)}',
    'detector.npz': 'weights of the detector, which finds the boxes',
    'foreground.npz': 'model of the foreground, which finds the boxes',
    'model.onnx': onnx
    and 'the same program, weights inside; under onnxruntime the largest difference is '
    f'{onnx["max_difference"]:.2g} of {onnx["largest_measurement"]:.2g}',
  }
  return lines, texts, 'objects', 'detector.score_video(frames, boxes)'


def _detection_lines(check):
  """Return a line on the check of the program that finds objects, if there is one."""
  if check is None:
    return []
  return [
    f'finding of objects checked on {check["clips"]} training clips: {check["objects"]} objects, '
    f'largest difference of their errors to the checkpoint {check["max_difference"]:.3g}'
  ]


def _stream_text(stream):
  """Return the line on the threshold for streams and its expected alarms."""
  expected = stream['expected']
  return (
    f'threshold for streams {stream["threshold"]:.3f}: {expected["events"]} events in '
    f'{duration_text(expected["hours"])} of these videos, {rate_text(expected)}'
  )


def _platforms(bundle):
  return ', '.join(bundle.manifest['loads_with']['platforms'])


def _onnx_text(check: dict[str, Any] | None) -> str:
  if not check:
    return ''
  return (
    'clips uint8, weights inside; under onnxruntime '
    f'{check["swapped_neighbours"]} of {check["frames"] - 1} neighbours in rank swap, '
    f'largest difference {check["max_difference"]:.2g} of {check["largest_error"]:.2g}'
  )
