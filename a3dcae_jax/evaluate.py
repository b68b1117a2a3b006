"""Score a trained run again: errors, metrics, report, from its workdir alone.

  python -m a3dcae_jax.evaluate --workdir=runs/ped2
  python -m a3dcae_jax.evaluate --workdir=runs/ped2 --normalisation=train

  python -m a3dcae_jax.evaluate --compare runs/a runs/b --page=compare.html

  python -m a3dcae_jax.evaluate --bundle=ped2.bundle --workdir=runs/ped2_bundle

  python -m a3dcae_jax.evaluate --sum runs/ped2 runs/ped2_flow --workdir=runs/ped2_both

--compare puts runs that are scored already into one table; those under different protocols get tables of their own.
--bundle scores an exported bundle on its run's data set, into a folder of its own; the scores are those of the run.
--sum scores the frames by the sum of several runs' errors, each by its training mean, as the paper adds optical flow to frames (Table IX).
The frame cache is found by the run's own config; nothing is trained.
"""

from absl import flags

from a3dcae_jax.cli.command import run_command
from a3dcae_jax.cli.pod import define_pod_flags, join_pod, run_in_pod
from a3dcae_jax.common.errors import UserError

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_NORMALISATION = flags.DEFINE_string(
  'normalisation',
  '',
  "Whose figures head the report: eq14, minmax, psnr, none, train. Default: the run's own.",
)
_ROOT = flags.DEFINE_string(
  'data_root', '', 'Folder of the footage, if it has moved since training.'
)
_CACHE = flags.DEFINE_string(
  'cache', '', 'With --bundle: frame cache to score, if it has moved since training.'
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Score this bundle; results go to --workdir.')
_COMPARE = flags.DEFINE_bool('compare', False, 'Compare the runs whose folders follow.')
_SUM = flags.DEFINE_bool(
  'sum',
  False,
  'Score by the sum of the errors of the runs whose folders follow; results go to --workdir.',
)
_PAGE = flags.DEFINE_string('page', '', 'Write the comparison to this HTML file too.')
define_pod_flags()


def main(folders):
  if not (_COMPARE.value or _BUNDLE.value or _SUM.value):
    join_pod()
  from a3dcae_jax.run.session import compare_runs, evaluate_again

  if _COMPARE.value:
    return compare_runs(folders, page=_PAGE.value)
  if _CACHE.value and not _BUNDLE.value:
    raise UserError(
      '--cache goes with --bundle; a run finds its frames by its config, or by --data_root'
    )
  if not _WORKDIR.value:
    wanted = (
      ': a folder for the results, as in --workdir=runs/ped2_results'
      if _BUNDLE.value or _SUM.value
      else ', as in --workdir=runs/ped2'
    )
    raise UserError(f'--workdir is missing{wanted}')
  if _BUNDLE.value:
    from a3dcae_jax.exporting.bundle import evaluate_bundle

    evaluate_bundle(
      _BUNDLE.value,
      _WORKDIR.value,
      normalisation=_NORMALISATION.value,
      data_root=_ROOT.value,
      cache=_CACHE.value,
    )
    return None
  if _SUM.value:
    from a3dcae_jax.evaluation.combine import evaluate_sum

    evaluate_sum(folders, _WORKDIR.value, normalisation=_NORMALISATION.value, data_root=_ROOT.value)
    return None
  return run_in_pod(
    lambda: evaluate_again(
      _WORKDIR.value, normalisation=_NORMALISATION.value, data_root=_ROOT.value
    )
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__)
