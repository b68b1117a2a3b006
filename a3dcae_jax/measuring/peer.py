"""Run a reference implementation of the networks beside ours.

It is a script that takes the flags of `run_peer` and prints one line of JSON.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.common.errors import UserError, last_message

# With these the script has the same allocator settings as this process (`common.tuning`). Without
# them glibc returns every large buffer to the operating system.
ALLOCATOR_SETTINGS = {
  'MALLOC_ARENA_MAX': '1',
  'MALLOC_MMAP_MAX_': '0',
  'MALLOC_TRIM_THRESHOLD_': '100000000000',
  'MALLOC_TOP_PAD_': '268435456',
}
_DTYPES = {'float32': 'f32', 'bfloat16': 'bf16'}


class Peer(NamedTuple):
  """A reference implementation.

  Attributes:
    python: the Python that runs it.
    script: the script.
    options: further flags, as in '--compile max-autotune --layout ncdhw'.
    tuned: whether the script gets `ALLOCATOR_SETTINGS`.
  """

  python: str
  script: str
  options: str = ''
  tuned: bool = True


def check_peer(peer: Peer) -> None:
  """Check that a reference implementation starts, by its `--help`.

  Raises:
    UserError: if it does not.
  """
  _output(peer, ['--help'])


def run_peer(peer: Peer, row: Mapping[str, Any], *, reps: int, options: str = '') -> dict[str, Any]:
  """Measure a setting with the reference implementation.

  Args:
    peer: the reference implementation.
    row: figures of our program; the script gets its mode, preset, size, batch and dtype.
    reps: timed runs.
    options: flags of this setting, besides those of the row.

  Returns:
    The script's JSON.

  Raises:
    UserError: if the script fails.
  """
  flags = {
    'mode': row['mode'],
    'preset': row['preset'],
    'size': row['size_px'],
    'batch': row['batch'],
    'dtype': _DTYPES[row['dtype']],
    'reps': reps,
  }
  arguments = []
  for name, value in flags.items():
    arguments += [f'--{name}', str(value)]
  output = _output(peer, [*arguments, *options.split(), *peer.options.split()])
  return json.loads(output.strip().splitlines()[-1])


def _output(peer: Peer, arguments: Sequence[str]) -> str:
  """Return what the script prints."""
  environment = dict(os.environ)
  if peer.tuned:
    environment.update(ALLOCATOR_SETTINGS)
  environment.pop('XLA_FLAGS', None)
  command = [peer.python, peer.script, *arguments]
  try:
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
  except OSError as error:
    raise UserError(f'--peer_python (={peer.python}) cannot be run: {error.strerror}') from None
  if result.returncode:
    last = last_message(result.stderr) or 'no message'
    raise UserError(f'--peer: {peer.script} ended with status {result.returncode}: {last}')
  return result.stdout
