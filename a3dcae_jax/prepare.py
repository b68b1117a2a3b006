"""Ingest a data set and print what was found: clips, frames, sizes, abnormal frames. What is wrong is listed in one go.

  python -m a3dcae_jax.prepare --config=configs/ucsd_ped2.py --config.data.root=FOLDER
  python -m a3dcae_jax.prepare --config=configs/avenue.py --config.data.root=FOLDER --download

Writes the frame cache that `main` and `evaluate` read; a cache that is there already is checked and shown.
With --download a public set (UCSD, Avenue) is first fetched into FOLDER, if that is empty or not there, and compared with its published SHA-256.
"""

from absl import flags

from a3dcae_jax.cli.command import define_config, run_command

_CONFIG = define_config()
_DOWNLOAD = flags.DEFINE_bool(
  'download', False, 'Fetch the set into data.root first, where there is nothing yet.'
)


def main():
  from a3dcae_jax.run.session import prepare_and_show

  prepare_and_show(_CONFIG.value, download=_DOWNLOAD.value)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
