"""The largest batch that a chip holds, found by compiling and not by running out of memory."""

import jax

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.ahead import compile_ahead, resolved_for, used_bytes
from a3dcae_jax.measuring.chips import chip_of


def largest_batch(setting, topology, *, show=print):
  """Dict: the largest `batch` (clips a chip, from `setting.batch` on) that fits, and what every `tries` entry [batch, bytes or None] took.

  Raises: UserError where not even one clip fits.
  """
  setting = resolved_for(setting, topology)
  limit, tries = int(chip_of(topology).memory_gib * 2**30), []

  def measure(batch):
    used = _bytes_of(setting._replace(batch=batch), topology)
    tries.append([batch, used])
    show(f'  batch {batch}: ' + ('does not compile: out of memory' if used is None else f'{used / 2**30:.2f} of {limit / 2**30:.0f} GiB'))
    return used

  batch = search(measure, limit, first=setting.batch)
  if not batch:
    raise UserError(f'--largest_batch: not even one clip of {setting.preset} fits on {topology}; try --remat=blocks')
  return {**setting._asdict(), 'topology': topology, 'batch': batch, 'used_bytes': dict(tries)[batch], 'limit_bytes': limit, 'tries': tries}


def search(measure, limit, *, first=1):
  """The largest n >= 1 with `measure(n)` <= `limit`, 0 if there is none, in few calls.

  `measure` rises with n and gives None where the limit is so far exceeded that it cannot say. Memory is nearly a straight line in n, so
  the next n is read off the line through the last two; without one, n doubles, and where the line says nothing new the bracket is halved.
  """
  low, high, known, probe = 0, None, {}, max(first, 1)
  while high is None or high - low > 1:
    known[probe] = measure(probe)
    if known[probe] is not None and known[probe] <= limit:
      low = probe
    else:
      high = probe
    probe = _next(low, high, known, limit)
  return low


def _next(low, high, known, limit):
  ceiling = 4 * low if high is None else high - 1
  points = sorted((n, used) for n, used in known.items() if used is not None)[-2:]
  if len(points) == 2 and points[1][1] > points[0][1]:
    (a, used_a), (b, used_b) = points
    guess = a + int((limit - used_a) * (b - a) // (used_b - used_a))
  else:
    guess = 2 * low if high is None else (low + high) // 2
  return min(max(guess, low + 1), ceiling)


def _bytes_of(setting, topology):
  try:
    return used_bytes(compile_ahead(setting, topology)[0])
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return None
