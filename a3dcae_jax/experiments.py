"""Make the paper's tables and figures, beside the figures that it prints.

  python -m a3dcae_jax.experiments --table=V --config=configs/ucsd_ped2.py:small --seeds=0,1,2
  python -m a3dcae_jax.experiments --table=V,VI,IX --config=configs/ucsd_ped2.py:small --dry_run
  python -m a3dcae_jax.experiments --table=all --config=configs/avenue.py --out=runs/avenue_paper

Each row of a table and each seed is an ordinary run of `main`, in a process and a workdir of its
own: OUT/runs/ROW_sSEED. A run that several tables need is made once. The same command again skips
runs that are done and resumes others.

--peer=tools/torch_peer.py --peer_python=PYTHON adds the speed in PyTorch to Table VII.

--config.FIELD=VALUE sets a field in every row, as in --config.train.steps=500. Where a row is
defined by another value of that field, the row keeps it.

On SIGTERM and Ctrl-C the running runs save and end. A run that fails does not stop the others.

Exit status: 0; 2 for a mistake, or if a run failed; 75 after SIGTERM; 130 after Ctrl-C.
"""

import pathlib
import shlex
import signal
import sys

from absl import flags
from ml_collections import config_flags

from a3dcae_jax import configs
from a3dcae_jax.cli.command import (
  EXIT_INTERRUPTED,
  EXIT_USER_ERROR,
  default_workdir,
  define_compilation_cache,
  define_config,
  define_peer_flags,
  given_path,
  read_settings,
  run_command,
)
from a3dcae_jax.cli.pod import EXIT_PREEMPTED, read_shard
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config.variants import variants_help

_CONFIG = define_config()
_TABLE = flags.DEFINE_list(
  'table',
  [],
  'Tables I to X, figures fig3 to fig8, theory, complexity, or several, as in V,VI,fig4; or all.',
)
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Seeds of every row, as in 0,1,2.')
_OUT = flags.DEFINE_string(
  'out',
  '',
  'Folder of the runs and tables, new or of an earlier call. By default '
  'runs/NAME_VARIANTS_paper, after the config file.',
)
_PROCESSES = flags.DEFINE_integer(
  'processes', 1, 'Runs at the same time on this machine.', lower_bound=1
)
_SHARD = flags.DEFINE_string(
  'shard', '', "K/N: make the K-th of N parts of the runs; by default the environment's."
)
_PEER = define_peer_flags()
_DRY_RUN = flags.DEFINE_bool('dry_run', False, 'Only print the runs and their commands.')
define_compilation_cache()


def main() -> int | None:
  """Check the flags, make the tables and return the exit status."""
  base_settings = read_settings(_CONFIG)
  from a3dcae_jax.paper.plan import Base, read_seeds
  from a3dcae_jax.paper.tables import asked_for

  asked_for(_TABLE.value, base_settings.data.name)
  seeds = read_seeds(_SEEDS.value)
  flag = flags.FLAGS['config']
  overrides = config_flags.get_override_values(flag)
  if 'seed' in overrides or 'variant' in overrides:
    raise UserError('--config.seed and --config.variant do not go with tables: use --seeds')
  file = config_flags.get_config_filename(flag)
  path, _, _ = file.partition(':')
  variants = tuple(name.strip() for name in base_settings.variant.split(','))
  base = Base(path, variants, overrides, base_settings)
  from a3dcae_jax.paper.session import Order, make_tables, show_plan

  order = Order(
    tables=_TABLE.value,
    seeds=seeds,
    out=_out(file),
    processes=_PROCESSES.value,
    shard=read_shard(_SHARD.value),
    peer=_PEER.given(),
    command=shlex.join(('python', '-m', 'a3dcae_jax.experiments', *sys.argv[1:])),
  )
  if _DRY_RUN.value:
    show_plan(base, order)
    return None
  return _status(make_tables(base, order))


def _out(file: str) -> pathlib.Path:
  if _OUT.value:
    return pathlib.Path(given_path(_OUT))
  folder = default_workdir(configs.name_of(file))
  return folder.with_name(f'{folder.name}_paper')


def _status(outcome) -> int | None:
  """Print which runs failed and return the exit status."""
  if outcome.asked_by:
    print(f'ended by {outcome.asked_by.name}: the same command goes on from there', file=sys.stderr)
    return EXIT_PREEMPTED if outcome.asked_by == signal.SIGTERM else EXIT_INTERRUPTED
  for name, reason in outcome.failed.items():
    print(f'error: {name} failed: {reason}', file=sys.stderr)
  return EXIT_USER_ERROR if outcome.failed else None


if __name__ == '__main__':
  run_command(main, usage=__doc__, epilogue=f'Variants, joined by commas:\n\n{variants_help()}')
