"""Turn a run's newest checkpoint into a portable detector bundle.

  python -m a3dcae_jax.export --workdir=runs/ped2 --bundle=ped2.bundle
  python -m a3dcae_jax.export --workdir=runs/ped2 --bundle=ped2.bundle --format=onnx

ONNX needs `pip install -e '.[onnx]'`. An older bundle of the same name is replaced.

The bundle is a folder with the scoring program for CPUs, CUDA GPUs and TPUs, its weights, and
detector.json with the calibration and the threshold; see docs/reference/bundle.md. To load it,
jax, numpy and flatbuffers are enough:

  from a3dcae_jax.serving.bundle import load_bundle
  from a3dcae_jax.serving.stream import StreamScorer
  scorer = StreamScorer(load_bundle('ped2.bundle'))

It takes frames one by one. The bundle of a run on objects takes their boxes too.

Training videos are read only if the run has no calibration yet. Test labels are not read.
"""

from absl import flags

from a3dcae_jax.cli.command import (
  define_compilation_cache,
  given_path,
  output_path,
  run_command,
)
from a3dcae_jax.common.jax_environment import check_devices

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder to write: new, empty, or an older bundle.')
_FORMAT = flags.DEFINE_enum(
  'format', 'stablehlo', ['stablehlo', 'onnx'], 'onnx adds model.onnx, checked by onnxruntime.'
)
_DATA_ROOT = flags.DEFINE_string(
  'data_root', '', 'Folder of the videos, if it has moved since training.'
)
_CACHE = flags.DEFINE_string('cache', '', 'The frame cache, if it has moved since training.')
define_compilation_cache()


def main() -> None:
  """Check the flags and export the run."""
  workdir = given_path(_WORKDIR, 'as in --workdir=runs/ped2')
  bundle = output_path(_BUNDLE, 'as in --bundle=ped2.bundle')
  check_devices()
  # Imports JAX, after the flags are checked: --help and mistakes do not wait for it.
  from a3dcae_jax.run.export import export_run
  from a3dcae_jax.run.overrides import Changes

  changes = Changes(data_root=given_path(_DATA_ROOT), cache=given_path(_CACHE))
  export_run(workdir, bundle, changes, onnx=_FORMAT.value == 'onnx')


if __name__ == '__main__':
  run_command(main, usage=__doc__)
