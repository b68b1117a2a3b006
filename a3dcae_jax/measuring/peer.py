"""Run a reference implementation of the networks beside ours.

It is a script that takes the flags of `run_peer` and prints one line of JSON.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

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


def run_peer(
  command: tuple[str, str],
  row: Mapping[str, Any],
  *,
  reps: int,
  options: str = '',
  tuned: bool = True,
) -> dict[str, Any]:
  """Measure a setting with the reference implementation.

  Args:
    command: (Python, script).
    row: figures of our program; the script gets its mode, preset, size, batch and dtype.
    reps: timed runs.
    options: further flags, as in '--compile max-autotune --layout ncdhw'.
    tuned: whether the script gets `ALLOCATOR_SETTINGS`.

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
  arguments = list(command)
  for name, value in flags.items():
    arguments += [f'--{name}', str(value)]
  arguments += options.split()
  environment = dict(os.environ)
  if tuned:
    environment.update(ALLOCATOR_SETTINGS)
  environment.pop('XLA_FLAGS', None)
  result = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
  if result.returncode:
    last = last_message(result.stderr) or 'no message'
    raise UserError(f'--peer: {command[1]} ended with status {result.returncode}: {last}')
  return json.loads(result.stdout.strip().splitlines()[-1])
