"""The largest batch that a chip holds, found by compiling and not by running out of memory."""

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.aot_compile import OutOfMemory, compile_ahead, resolved_for, used_bytes
from a3dcae_jax.measuring.chips import chip_of


def largest_batch(setting, topology, *, earlier=(), show=print):
  """Dict: the largest `batch` (clips a chip, from `setting.batch` on) that fits, and what every `tries` entry [batch, bytes or None] took.

  Reports in `earlier` of the same program at other batches are not compiled again.

  Raises: UserError where not even one clip fits.
  """
  setting = resolved_for(setting, topology)
  limit, tries = int(chip_of(topology).memory_gib * 2**30), []

  def measure(batch):
    try:
      used = used_bytes(compile_ahead(setting._replace(batch=batch), topology)[0])
      show(f'  batch {batch}: {used / 2**30:.2f} of {limit / 2**30:.0f} GiB')
    except OutOfMemory as error:
      used = None
      show(f'  batch {batch} does not compile: {error}')
    tries.append([batch, used])
    return used

  batch = search(
    measure, limit, first=setting.batch, known=known_bytes(setting, topology, earlier, tries)
  )
  if not batch:
    raise UserError(
      f'--largest_batch: not even one clip of {setting.preset} fits on {topology}; try --remat=blocks'
    )
  return {
    **setting._asdict(),
    'topology': topology,
    'batch': batch,
    'used_bytes': dict(tries)[batch],
    'limit_bytes': limit,
    'tries': tries,
  }


def known_bytes(setting, topology, earlier, tries):
  """{batch: bytes} of the reports in `earlier` of `setting` at any batch on `topology`; noted in `tries` too."""
  same = [
    row
    for row in earlier
    if all(
      row.get(key) == value
      for key, value in (setting._asdict() | {'topology': topology}).items()
      if key != 'batch'
    )
  ]
  known = {row['batch']: round(1e9 * row['memory_gb']) for row in same if 'memory_gb' in row}
  tries.extend([batch, used] for batch, used in sorted(known.items()))
  return known


def search(measure, limit, *, first=1, known=()):
  """The largest n >= 1 with `measure(n)` <= `limit`, 0 if there is none, in few calls.

  `measure` rises with n and gives None where the limit is so far exceeded that it cannot say. Memory is nearly a straight line in n, so
  the next n is read off the line through the last two; without one, n doubles, and where the line says nothing new the bracket is halved.
  `known`: {n: measure(n)} that need no call.
  """
  known = dict(known)
  low = max((n for n, used in known.items() if used is not None and used <= limit), default=0)
  high = min((n for n, used in known.items() if used is None or used > limit), default=None)
  probe = _next(low, high, known, limit) if known else max(first, 1)
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
