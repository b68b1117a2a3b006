"""Train on normal videos, score the test videos and write the report.

  python -m a3dcae_jax.main --config=configs/synthetic.py
  python -m a3dcae_jax.main --config=configs/avenue.py:small --workdir=runs/first

The same command again resumes a run that was interrupted.

  --config=FILE.py[:VARIANTS]  the data set; variants are listed below
  --config.FIELD=VALUE         any field, as in --config.train.steps=100; docs/reference/config.md

On several hosts, start the same command on each: by srun, mpirun, on a Cloud TPU slice, in a
JobSet (launch/README.md), or with --coordinator=HOST:PORT --num_processes=N --process_id=I.

On SIGTERM the run saves after the next step and ends with status 75, on Ctrl-C likewise with 130.
Status 76 and 134 mean that another process of the pod was lost. In all these cases the same command
resumes the run. A second run in the same workdir is refused.

The workdir receives config.json, provenance.json, checkpoints/, calibration/, metrics.jsonl,
tensorboard/, scores.csv, metrics.json and report.html; see docs/reference/outputs.md.
"""

import functools

from absl import flags
from ml_collections import config_flags

from a3dcae_jax.cli.command import (
  default_workdir,
  define_compilation_cache,
  define_config,
  given_path,
  read_settings,
  run_command,
)
from a3dcae_jax.cli.pod import define_pod_flags, join_pod, run_in_pod
from a3dcae_jax.config.variants import variants_help

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Folder of the run, new or to be resumed. By default runs/NAME_VARIANTS, after the config file.',
)
_PROFILE = flags.DEFINE_string(
  'profile',
  '',
  'START:STOP: trace these updates into WORKDIR/profile, for TensorBoard or ui.perfetto.dev.',
)
define_compilation_cache()
define_pod_flags()


def main() -> int | None:
  """Train and evaluate, and return the exit status."""
  settings = read_settings(_CONFIG)
  config_file = config_flags.get_config_filename(flags.FLAGS['config'])
  workdir = default_workdir(config_file)
  if _WORKDIR.value is not None:
    workdir = given_path(_WORKDIR, 'as in --workdir=runs/first')
  join_pod()
  # Imports JAX, after the flags are checked: --help and mistakes do not wait for it.
  from a3dcae_jax.run.session import train_and_evaluate

  return run_in_pod(
    functools.partial(train_and_evaluate, settings, workdir, profile=_PROFILE.value)
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__, epilogue=f'Variants, joined by commas:\n\n{variants_help()}')
