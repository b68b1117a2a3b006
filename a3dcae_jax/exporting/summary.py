"""What an export wrote, as text for the terminal."""


def bundle_text(bundle):
  """A loaded bundle's files, threshold, check against the checkpoint, and how to load it. bundle: `serving.bundle.Bundle`."""
  manifest, shape = bundle.manifest, f'{bundle.window}, {bundle.height}, {bundle.width}'
  says = {
    'model.stablehlo': f'clips uint8 [B, {shape}] -> errors [B, {bundle.window}], maps [B, {shape}]; {", ".join(manifest["loads_with"]["platforms"])}',
    'model_float.stablehlo': 'the same for float32 clips in [0, 1]',
    'weights.npz': 'plain arrays, no pickle',
    'mean_image.npy': 'float32 [H, W]',
    'model.onnx': _onnx_text(manifest.get('onnx')),
  }
  files, limits, check = manifest['files'], manifest['calibration'], manifest['check']
  lines = [
    f'{bundle.folder}: {sum(entry["bytes"] for entry in files.values()) / 1e6:.2f} MB, checkpoint of step {manifest["provenance"]["checkpoint_step"]}'
  ]
  lines += [f'  clips of frames that are {bundle.stride} apart'] if bundle.stride > 1 else []
  lines += [
    f'  {name:22s}{entry["bytes"] / 1e3:10,.1f} kB  {says[name]}' for name, entry in files.items()
  ]
  return '\n'.join(
    [
      *lines,
      f'threshold {limits["threshold"]:.3f} by {limits["threshold_rule"]} {limits["threshold_value"]} of {limits["frames"]} frames of {limits["of"]}',
      f'checked on {check["clips"]} training clips, {check["platform"]}: largest difference to the checkpoint {check["max_difference"]:.3g}',
      f'to load it, jax >= {manifest["loads_with"]["jax_at_least"]}, numpy and flatbuffers are enough (pip install --no-deps for this package):',
      '  from a3dcae_jax.serving.bundle import load_bundle',
      f'  detector = load_bundle({str(bundle.folder)!r})',
      '  errors, maps = detector(clips); abnormal = detector.scores(errors) > detector.threshold',
    ]
  )


def _onnx_text(found):
  return found and (
    f'clips uint8 in, weights inside; under onnxruntime {found["swapped_neighbours"]} of {found["frames"] - 1} neighbours in rank swap, '
    f'largest difference {found["max_difference"]:.2g} of {found["largest_error"]:.2g}'
  )
