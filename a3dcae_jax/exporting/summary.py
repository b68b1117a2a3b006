"""The text that an export prints."""

from typing import Any

from a3dcae_jax.serving.bundle import Bundle


def bundle_text(bundle: Bundle) -> str:
  """Describe a bundle: its files, threshold and check, and how to load it."""
  manifest = bundle.manifest
  files = manifest['files']
  total_mb = sum(entry['bytes'] for entry in files.values()) / 1e6
  step = manifest['provenance']['checkpoint_step']
  lines = [f'{bundle.folder}: {total_mb:.2f} MB, checkpoint of step {step}']
  if bundle.stride > 1:
    lines.append(f'  the frames of a clip are {bundle.stride} apart')
  texts = _file_texts(bundle)
  for name, entry in files.items():
    lines.append(f'  {name:22s}{entry["bytes"] / 1e3:10,.1f} kB  {texts.get(name, "")}'.rstrip())
  calibration = manifest['calibration']
  check = manifest['check']
  lines += [
    f'threshold {calibration["threshold"]:.3f} by {calibration["threshold_rule"]} '
    f'{calibration["threshold_value"]} of {calibration["frames"]} frames '
    f'of {calibration["videos"]}',
    f'checked on {check["clips"]} clips, {check["platform"]}: '
    f'largest difference to the checkpoint {check["max_difference"]:.3g}',
    f'loads with jax >= {manifest["loads_with"]["jax_at_least"]}, numpy and flatbuffers '
    '(pip install --no-deps for this package):',
    '  from a3dcae_jax.serving.bundle import load_bundle',
    f'  detector = load_bundle({str(bundle.folder)!r})',
    '  abnormal = detector.score_video(frames) > detector.threshold  # frames uint8 [N, H, W]',
  ]
  return '\n'.join(lines)


def _file_texts(bundle: Bundle) -> dict[str, str]:
  """Return one line for each file that a bundle may have."""
  shape = f'{bundle.window}, {bundle.height}, {bundle.width}'
  platforms = ', '.join(bundle.manifest['loads_with']['platforms'])
  return {
    'model.stablehlo': f'clips uint8 [B, {shape}] -> errors [B, {bundle.window}], '
    f'maps [B, {shape}]; {platforms}',
    'model_float.stablehlo': 'the same for float32 clips in [0, 1]',
    'weights.npz': 'plain arrays, no pickle',
    'mean_image.npy': 'float32 [H, W]',
    'frame_mean.npy': 'float32 [H, W], mean image of frames',
    'calibration.json': 'errors of training videos',
    'model.onnx': _onnx_text(bundle.manifest.get('onnx')),
  }


def _onnx_text(check: dict[str, Any] | None) -> str:
  if not check:
    return ''
  return (
    'clips uint8, weights inside; under onnxruntime '
    f'{check["swapped_neighbours"]} of {check["frames"] - 1} neighbours in rank swap, '
    f'largest difference {check["max_difference"]:.2g} of {check["largest_error"]:.2g}'
  )
