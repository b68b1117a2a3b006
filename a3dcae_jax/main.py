"""Train the auto-encoder on a data set's normal days, score its test videos, write the report. The same command again resumes.

  python -m a3dcae_jax.main --config=configs/synthetic.py --workdir=runs/synthetic
  python -m a3dcae_jax.main --config=configs/ucsd_ped2.py:small --config.data.root=FOLDER --workdir=runs/ped2

  --config=FILE.py[:VARIANT]  which data set, which size; configs/ has one file a data set
  --config.FIELD=VALUE        any field of it, as in --config.train.steps=100; all are explained in configs/common.py
  --profile=START:STOP        trace these updates: WORKDIR/profile opens in TensorBoard and in ui.perfetto.dev

On several hosts: the same command on each, by srun, mpirun, a Cloud TPU slice, a JobSet (launch/README.md), or with
  --coordinator=HOST:PORT --num_processes=N --process_id=I

SIGTERM saves after the next step and ends with status 75; 76 and 134 say that another process of the pod was lost. Run it again
in either case. Two runs in one workdir are refused.

What it leaves in the workdir: config.json, checkpoints/, metrics.jsonl, tensorboard/, mean_image.npy, scores.csv, metrics.json,
report.html, provenance.json.
"""

from absl import flags

from a3dcae_jax.cli.command import define_config, run_command
from a3dcae_jax.cli.pod import define_pod_flags, join_pod, run_in_pod

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of this run; made if it is not there, resumed if it is.'
)
_PROFILE = flags.DEFINE_string(
  'profile',
  '',
  'START:STOP: trace these updates into WORKDIR/profile, for TensorBoard or Perfetto.',
)
flags.mark_flags_as_required(['config', 'workdir'])
define_pod_flags()


def main():
  join_pod()
  from a3dcae_jax.run.session import train_and_evaluate  # after the flags: --help stays quick

  return run_in_pod(
    lambda: train_and_evaluate(_CONFIG.value, _WORKDIR.value, profile=_PROFILE.value)
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__)
