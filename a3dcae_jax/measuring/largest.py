"""Find the largest batch that a chip holds, by compiling."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring.aot_compile import OutOfMemory, compile_for, resolved_for
from a3dcae_jax.measuring.chips import chip_of
from a3dcae_jax.measuring.costs import used_bytes
from a3dcae_jax.measuring.programs import Setting, report_fields


def largest_batch(
  setting: Setting, topology: str, *, earlier: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
  """Find the largest batch that fits, in clips per chip.

  Args:
    setting: the program; the search starts at its batch.
    topology: name of the topology, such as 'v5e:1x1'.
    earlier: reports. Batches of the same program that are in them are not compiled again.

  Returns:
    The fields of the program with its largest `batch`, and `tries`, a list of [batch, bytes or
    None if it did not compile].

  Raises:
    UserError: if not even one clip fits.
  """
  setting = resolved_for(setting, topology)
  limit = int(chip_of(topology).memory_gib * 2**30)
  known = known_bytes(setting, topology, earlier)
  tries = sorted(known.items())

  def measure(batch: int) -> int | None:
    used = _bytes_at(setting._replace(batch=batch), topology, limit)
    tries.append((batch, used))
    return used

  batch = search(measure, limit, first=setting.batch, known=known)
  if not batch:
    raise UserError(
      f'--largest_batch: not even one clip of {setting.preset} fits on {topology}; '
      'try --remat=blocks'
    )
  return {
    **report_fields(setting),
    'topology': topology,
    'batch': batch,
    'used_bytes': dict(tries)[batch],
    'limit_bytes': limit,
    'tries': [list(entry) for entry in tries],
  }


def _bytes_at(setting: Setting, topology: str, limit: int) -> int | None:
  """Return the bytes that a program needs; None if it does not compile."""
  try:
    compiled, _ = compile_for(setting, topology)
  except OutOfMemory as error:
    print(f'  batch {setting.batch} does not compile: {error}')
    return None
  used = used_bytes(compiled)
  print(f'  batch {setting.batch}: {used / 2**30:.2f} of {limit / 2**30:.0f} GiB')
  return used


def known_bytes(
  setting: Setting, topology: str, earlier: Sequence[Mapping[str, Any]]
) -> dict[int, int]:
  """Return batch -> bytes of the earlier reports of this program on this topology."""
  wanted = {**report_fields(setting), 'topology': topology}
  del wanted['batch']
  known = {}
  for row in earlier:
    is_same = all(row.get(name) == value for name, value in wanted.items())
    if is_same and 'memory_gb' in row:
      known[row['batch']] = round(1e9 * row['memory_gb'])
  return known


def search(
  measure: Callable[[int], int | None],
  limit: int,
  *,
  first: int = 1,
  known: Mapping[int, int | None] | None = None,
) -> int:
  """Find the largest n >= 1 with measure(n) <= limit in few calls.

  Memory is nearly linear in n, so the next n is taken from the line through the last two
  measurements. With fewer measurements n doubles. If the line gives no new n, the interval between
  the largest n that fits and the smallest one that does not is halved.

  Args:
    measure: a function that rises with n; None if the limit is exceeded so far that there is no
      measurement.
    limit: the largest allowed value.
    first: the n to start with.
    known: n -> measure(n) for values that need no call.

  Returns:
    The largest n; 0 if there is none.
  """
  known = dict(known or {})
  low = 0
  high = None
  for n, used in known.items():
    if _fits(used, limit):
      low = max(low, n)
    else:
      high = n if high is None else min(high, n)
  probe = _next_probe(low, high, known, limit) if known else max(first, 1)
  while high is None or high - low > 1:
    known[probe] = measure(probe)
    if _fits(known[probe], limit):
      low = probe
    else:
      high = probe
    probe = _next_probe(low, high, known, limit)
  return low


def _fits(used: int | None, limit: int) -> bool:
  return used is not None and used <= limit


def _next_probe(low: int, high: int | None, known: Mapping[int, int | None], limit: int) -> int:
  """Choose the next n to measure, above `low`, which fits, and below `high`."""
  if high is None:
    guess = 2 * low
    most = 4 * low
  else:
    guess = (low + high) // 2
    most = high - 1
  measured = [(n, used) for n, used in known.items() if used is not None]
  if len(measured) > 1:
    (a, used_a), (b, used_b) = sorted(measured)[-2:]
    rise = used_b - used_a
    if rise > 0:
      guess = a + int((limit - used_a) * (b - a) // rise)
  return min(max(guess, low + 1), most)
