"""Turn a run's newest checkpoint into a portable detector bundle, and say how to load it.

  python -m a3dcae_jax.export --workdir=runs/ped2 --bundle=ped2.bundle
  python -m a3dcae_jax.export --workdir=runs/ped2 --bundle=ped2.bundle --format=onnx      (needs pip install -e '.[onnx]')

The bundle is a folder: model.stablehlo (the scoring program, for CPUs, CUDA GPUs and TPUs, any number of clips), model_float.stablehlo,
weights.npz, mean_image.npy, detector.json (geometry, training-error statistics, threshold, provenance, SHA-256 of each file).
Loading it takes jax, numpy and flatbuffers, not this project's other dependencies:

  from a3dcae_jax.serving.bundle import load_bundle
  detector = load_bundle('ped2.bundle')
  errors, maps = detector(clips)                                # uint8 [B, T, H, W], or float32 in [0, 1]
  abnormal = detector.scores(errors) > detector.threshold       # bool [B, T]

The training frames are read again, to calibrate the threshold and to compare the bundle with the checkpoint; test labels are not.
`python -m a3dcae_jax.evaluate --bundle=ped2.bundle --workdir=FOLDER` scores a bundle. An older bundle of the same name is replaced.
"""

from absl import flags

from a3dcae_jax.cli.command import run_command
from a3dcae_jax.common.errors import UserError

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_BUNDLE = flags.DEFINE_string('bundle', None, 'Folder to write: new, empty, or an older bundle.')
_FORMAT = flags.DEFINE_enum(
  'format', 'stablehlo', ['stablehlo', 'onnx'], 'onnx adds model.onnx, checked against onnxruntime.'
)
_ROOT = flags.DEFINE_string(
  'data_root', '', 'Folder of the footage, if it has moved since training.'
)
_CACHE = flags.DEFINE_string(
  'cache', '', 'Frame cache of the training frames, if it has moved since training.'
)


def main():
  for flag, example in ((_WORKDIR, 'runs/ped2'), (_BUNDLE, 'ped2.bundle')):
    if not flag.value:
      raise UserError(f'--{flag.name} is missing, as in --{flag.name}={example}')
  from a3dcae_jax.exporting.bundle import export_run

  export_run(
    _WORKDIR.value,
    _BUNDLE.value,
    data_root=_ROOT.value,
    cache=_CACHE.value,
    onnx=_FORMAT.value == 'onnx',
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__)
