"""Read a data set into a frame cache and print what was found.

  python -m a3dcae_jax.prepare --config=configs/avenue.py --download
  python -m a3dcae_jax.prepare --config=configs/ucsd_ped2.py --config.data.root=FOLDER

Prints videos, frames, sizes and abnormal frames, and lists everything that is wrong in one go.
`main` and `evaluate` read the frame cache. A cache that exists already is verified and shown.

With --download a public set (UCSD, Avenue) is first fetched into data.root, if that folder is
empty or does not exist, and compared with its published SHA-256.
"""

from absl import flags

from a3dcae_jax.cli.command import define_config, read_settings, run_command

_CONFIG = define_config()
_DOWNLOAD = flags.DEFINE_bool(
  'download', False, 'Fetch the set into data.root first, if there is nothing yet.'
)


def main() -> None:
  """Run the command."""
  settings = read_settings(_CONFIG)
  # Imported after the flags are parsed, so that --help and mistakes are quick.
  from a3dcae_jax.run.session import prepare_and_show

  prepare_and_show(settings, download=_DOWNLOAD.value)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
