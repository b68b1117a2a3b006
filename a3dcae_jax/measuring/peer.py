"""Runs another implementation of the network, a script that prints one JSON line, in turn with ours."""

import json
import os
import subprocess

from a3dcae_jax.common.errors import UserError

# Without these glibc hands every large buffer back to the kernel: the peer gets the same allocator as this process.
TUNED = {
  'MALLOC_ARENA_MAX': '1',
  'MALLOC_MMAP_MAX_': '0',
  'MALLOC_TRIM_THRESHOLD_': '100000000000',
  'MALLOC_TOP_PAD_': '268435456',
}


def run_peer(python, script, setting, *, reps, options='', tuned=True):
  """The peer's JSON for a setting. `options`: further flags, as in '--compile max-autotune --layout ncdhw'."""
  dtype = {'float32': 'f32', 'bfloat16': 'bf16'}[setting['dtype']]
  command = [
    python,
    script,
    '--mode',
    setting['mode'],
    '--preset',
    setting['preset'],
    '--size',
    str(setting['size_px']),
    '--batch',
    str(setting['batch']),
    '--dtype',
    dtype,
    '--reps',
    str(reps),
    *options.split(),
  ]
  environment = os.environ | (TUNED if tuned else {})
  environment.pop('XLA_FLAGS', None)
  result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
  if result.returncode:
    last = (result.stderr.strip().splitlines() or ['no message'])[-1]
    raise UserError(f'--peer: {script} ended with status {result.returncode}: {last}')
  return json.loads(result.stdout.strip().splitlines()[-1])
