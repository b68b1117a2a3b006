"""Read a data set into a frame cache and print what was found.

  python -m a3dcae_jax.prepare --config=configs/avenue.py --download
  python -m a3dcae_jax.prepare --config=configs/ucsd_ped2.py --config.data.root=FOLDER

It prints videos, frames, sizes and abnormal frames, and names all faults at once. `main` and
`evaluate` read the frame cache. An existing cache is verified and shown.

With --download a public set (UCSD, Avenue) is fetched into data.root first, if that folder is empty
or does not exist. The download is compared with its published SHA-256.
"""

from absl import flags

from a3dcae_jax.cli.command import define_config, read_settings, run_command
from a3dcae_jax.common.jax_environment import check_devices, check_settings

_CONFIG = define_config()
_DOWNLOAD = flags.DEFINE_bool(
  'download', False, 'Fetch the set into data.root first, if that folder is empty or missing.'
)


def main() -> None:
  """Prepare the data set that the flags name."""
  settings = read_settings(_CONFIG)
  check_settings()
  check_devices()
  # Imports JAX, after the flags are checked: --help and mistakes do not wait for it.
  from a3dcae_jax.run.session import prepare_and_show

  prepare_and_show(settings, download=_DOWNLOAD.value)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
