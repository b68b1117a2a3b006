"""Ingest a data set and print what was found: clips, frames, sizes, abnormal frames. What is wrong is listed in one go.

  python -m a3dcae_jax.prepare --config=configs/ucsd_ped2.py --config.data.root=FOLDER

Writes the frame store that `main` and `evaluate` read; a store that is there already is checked and shown.
"""

from a3dcae_jax.runs.command import define_config, run_command

_CONFIG = define_config()


def main():
  from a3dcae_jax.runs.session import prepare_and_show
  prepare_and_show(_CONFIG.value)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
