"""Score a trained run again: errors, metrics, report, from its workdir alone.

  python -m a3dcae_jax.evaluate --workdir=runs/ped2
  python -m a3dcae_jax.evaluate --workdir=runs/ped2 --normalisation=train

The frame store is found by the run's own config; nothing is trained.
"""

from absl import flags

from a3dcae_jax.runs.command import run_command

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_NORMALISATION = flags.DEFINE_string('normalisation', '', 'Whose figures head the report: eq14, minmax, none, train. Default: the run\'s own.')
_ROOT = flags.DEFINE_string('data_root', '', 'Folder of the footage, if it has moved since training.')
flags.mark_flags_as_required(['workdir'])


def main():
  from a3dcae_jax.runs.session import evaluate_again
  evaluate_again(_WORKDIR.value, normalisation=_NORMALISATION.value, data_root=_ROOT.value)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
