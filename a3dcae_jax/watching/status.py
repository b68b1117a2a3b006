"""The status lines of `detect`: rates, latency, dropped frames and faults."""

import time
from collections.abc import Iterable, Sequence

from a3dcae_jax.watching.sources import Source
from a3dcae_jax.watching.watch import Watch

_SHOWN = 20  # sources; more would hide everything else


class StatusLines:
  """Prints status lines.

  Args:
    every_s: seconds between two of them.
  """

  def __init__(self, every_s: float) -> None:
    self._every_s = every_s
    self._printed_s = time.monotonic()
    self._before: dict[str, tuple[int, int]] = {}

  def print(self, watches: Iterable[Watch]) -> None:
    """Print the lines, if it is time."""
    now_s = time.monotonic()
    passed_s = now_s - self._printed_s
    if passed_s < self._every_s:
      return
    self._printed_s = now_s
    counts = {}
    for number, watch in enumerate(watches):
      name = watch.source.name
      counts[name] = watch.reader.captured, watch.scored
      before = self._before.get(name, (0, 0))
      rates = [(now - then) / passed_s for now, then in zip(counts[name], before, strict=True)]
      if number < _SHOWN:
        print(status_line(watch, *rates), flush=True)
      watch.latency_s = 0.0
    self._before = counts


def status_line(watch: Watch, captured_per_s: float, scored_per_s: float) -> str:
  """Return the status of a source.

  Args:
    watch: the source.
    captured_per_s: frames that came per second.
    scored_per_s: frames that were scored per second.
  """
  parts = [f'{captured_per_s:.1f} frames/s captured', f'{scored_per_s:.1f} scored']
  if watch.source.is_live:
    parts.append(f'latency {watch.latency_s:.2f} s')
  parts += [f'{watch.reader.dropped} dropped', f'{watch.events} events', watch.fault or 'ok']
  if watch.dropped_files:
    parts.insert(-1, f'{watch.dropped_files} files dropped')
  return f'{watch.source.name}: {", ".join(parts)}'


def raised_line(source: Source, threshold: float, raising: int, others: Sequence[float]) -> str:
  """Return the line on a threshold that feedback has raised.

  Args:
    source: the source.
    threshold: its new threshold.
    raising: number of events marked as normal that it lies above.
    others: highest scores of its other events.
  """
  lost = sum(score < threshold for score in others)
  return (
    f'{source.name}: threshold {threshold:.3f}, above {raising} events marked as normal; '
    f'{lost} of {len(others)} other events would not start either'
  )


def end_line(watch: Watch) -> str:
  """Return the line that is printed when a source has ended."""
  line = f'{watch.source.name}: {watch.scored} of {watch.reader.captured} frames scored'
  if watch.reader.dropped:
    line += f', {watch.reader.dropped} dropped'
  if watch.reader.opened > 1:
    line += f', opened {watch.reader.opened} times'
  if watch.dropped_files:
    line += f', {watch.dropped_files} files dropped'
  return f'{line}, {watch.events} events: {watch.folder.path}'
