"""Score a run again, a bundle or a sum of runs; compare runs.

  python -m a3dcae_jax.evaluate --workdir=runs/ped2
  python -m a3dcae_jax.evaluate --workdir=runs/ped2 --override=eval.smoothing_mode=causal
  python -m a3dcae_jax.evaluate --compare runs/a runs/b --page=compare.html
  python -m a3dcae_jax.evaluate --bundle=ped2.bundle --workdir=runs/ped2_bundle
  python -m a3dcae_jax.evaluate --sum runs/ped2 runs/ped2_flow --workdir=runs/ped2_both

A run is scored from its workdir alone: its config names the frame cache. Nothing is trained.

--compare puts runs that are already scored into tables, one table for each protocol.
--bundle scores an exported bundle on the data set of its run; the scores equal those of the run.
--sum adds the errors of several runs, each divided by its mean training error, as the paper adds
optical flow to frames (Table IX).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from a3dcae_jax.cli.command import (
  define_compilation_cache,
  given_path,
  output_path,
  parse_overrides,
  run_command,
)
from a3dcae_jax.cli.pod import define_pod_flags, join_pod, run_in_pod
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.jax_environment import check_devices

_WORKDIR = flags.DEFINE_string(
  'workdir', '', 'Folder of the run; with --bundle or --sum, a folder for the results.'
)
_NORMALISATION = flags.DEFINE_string(
  'normalisation',
  '',
  "Heads the report: eq14, minmax, psnr, raw or zscore. By default the run's own.",
)
_OVERRIDE = flags.DEFINE_multi_string(
  'override',
  [],
  'FIELD=VALUE, several with commas or by repeating the flag: fields of eval and events, '
  'data.label_set and data.options.',
)
_DATA_ROOT = flags.DEFINE_string(
  'data_root', '', 'Folder of the videos, if it has moved since training.'
)
_CACHE = flags.DEFINE_string(
  'cache', '', 'With --bundle: the frame cache, if it has moved since training.'
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Score this bundle.')
_COMPARE = flags.DEFINE_bool('compare', False, 'Compare the runs whose folders follow.')
_SUM = flags.DEFINE_bool('sum', False, 'Add the errors of the runs whose folders follow.')
_PAGE = flags.DEFINE_string('page', '', 'With --compare: write the tables to this HTML file too.')
define_compilation_cache()
define_pod_flags()


def main(folders: Sequence[str]) -> int | None:
  """Score or compare the folders that follow the flags, and return the exit status."""
  overrides = parse_overrides(_OVERRIDE.value)
  _check_flags(folders, overrides)
  if _COMPARE.value:
    _compare(folders)
    return None
  if _BUNDLE.value:
    return _score_bundle()
  if _SUM.value:
    _score_sum(folders)
    return None
  return _score_run(overrides)


def _check_flags(folders: Sequence[str], overrides: dict[str, str]) -> None:
  """Check that the flags fit each other."""
  modes = {'--compare': _COMPARE.value, '--bundle': bool(_BUNDLE.value), '--sum': _SUM.value}
  chosen = [name for name, is_chosen in modes.items() if is_chosen]
  if len(chosen) > 1:
    raise UserError(f'{" and ".join(chosen)} do not go together')
  if folders and not (_COMPARE.value or _SUM.value):
    raise UserError(
      f'{folders[0]!r} is not a flag; --compare and --sum take folders of runs, and videos are '
      'scored by `python -m a3dcae_jax.detect --bundle=BUNDLE VIDEO`'
    )
  if _COMPARE.value:
    for flag in (_WORKDIR, _NORMALISATION, _DATA_ROOT):
      if flag.value:
        raise UserError(
          f'--{flag.name} does not go with --compare: it reads the results of the runs as they are'
        )
  if _PAGE.value and not _COMPARE.value:
    raise UserError('--page goes with --compare; a run has its report.html in its workdir')
  if _CACHE.value and not _BUNDLE.value:
    raise UserError(
      '--cache goes with --bundle; a run finds its frames through its config, or --data_root'
    )
  if overrides and chosen:
    raise UserError(f'--override does not go with {chosen[0]}: it changes the settings of one run')
  if not _WORKDIR.value and not _COMPARE.value:
    example = ', as in --workdir=runs/ped2'
    if chosen:
      example = ': a folder for the results, as in --workdir=runs/ped2_results'
    raise UserError(f'--workdir is missing{example}')


# The functions below import JAX, after the flags are checked: --help and mistakes do not wait.


def _score_run(overrides: dict[str, str]) -> int | None:
  join_pod()
  from a3dcae_jax.run.evaluate import evaluate_again

  return run_in_pod(functools.partial(evaluate_again, given_path(_WORKDIR), _changes(overrides)))


def _compare(folders: Sequence[str]) -> None:
  from a3dcae_jax.run.evaluate import compare_runs

  compare_runs(folders, page=output_path(_PAGE))


def _score_bundle() -> int | None:
  join_pod()
  from a3dcae_jax.run.export import evaluate_bundle

  return run_in_pod(
    functools.partial(evaluate_bundle, given_path(_BUNDLE), given_path(_WORKDIR), _changes())
  )


def _score_sum(folders: Sequence[str]) -> None:
  check_devices()
  from a3dcae_jax.run.evaluate import evaluate_sum

  evaluate_sum(folders, given_path(_WORKDIR), _changes())


def _changes(overrides: Mapping[str, str] | None = None) -> Any:
  from a3dcae_jax.run.overrides import Changes

  return Changes(
    normalisation=_NORMALISATION.value,
    data_root=given_path(_DATA_ROOT),
    cache=given_path(_CACHE),
    overrides=overrides or {},
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__)
