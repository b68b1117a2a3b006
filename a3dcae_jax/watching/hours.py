"""A threshold for each hour of the day, learnt from the scores of normal days.

The file has {"bundle": SHA-256, "per_hour": rate, "thresholds": {"8": 3.1, ...}}. The key is the
hour of the day in local time. Hours without an entry have the threshold of the bundle.
"""

import math
import pathlib
import time
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_object, write_json
from a3dcae_jax.exporting.stream_threshold import ALARMS_PER_HOUR
from a3dcae_jax.scoring.thresholds import choose_threshold, expected_alarms
from a3dcae_jax.serving.bundle import Bundle, load_bundle
from a3dcae_jax.serving.object_bundle import ObjectBundle
from a3dcae_jax.serving.stream_events import count_events
from a3dcae_jax.watching.sources import Source, named_file

LEAST_HOURS = 3.0
"""Footage that an hour of the day needs, in hours: with less, the rate of alarms is a guess."""

_GAP_S = 10.0  # between two frames of one stretch
_ZONE_S = 900  # local time differs from UTC by multiples of it
_EARLIEST_S = 1e9  # earlier times are not those of a clock, but of a file

Thresholds = Mapping[int, float]
"""Hour of the day, 0 to 23 -> threshold."""


def learn_hours(folder: str, files: Sequence[str], out: pathlib.Path) -> None:
  """Find the thresholds, write them and print what was found.

  Each is the lowest one with at most as many events per hour as the bundle's rule allows.

  Args:
    folder: of the bundle that gave the scores.
    files: `scores.csv` of a live source, or several.
    out: the file that is written.

  Raises:
    UserError: if a file has no scores with times of the day, or no hour has enough footage.
  """
  bundle = load_bundle(folder)
  stream = bundle.manifest.get('stream', {})
  per_hour = ALARMS_PER_HOUR
  if stream.get('threshold_rule') == 'rate':
    per_hour = stream['threshold_value']
  stretches: dict[int, list[np.ndarray]] = {}
  for file in files:
    for hour, scores in _stretches(pathlib.Path(file)):
      stretches.setdefault(hour, []).append(scores)
  thresholds = {}
  for hour in sorted(stretches):
    found = _threshold(stretches[hour], per_hour, f'{hour:02}:00')
    if found is not None:
      thresholds[str(hour)] = found
  if not thresholds:
    raise UserError(
      f'{files[0]}: no hour of the day has {LEAST_HOURS:g} hours of scores, which are three normal '
      'days: let detect run for longer'
    )
  write_json(
    out,
    {'bundle': bundle.manifest['sha256'], 'per_hour': per_hour, 'thresholds': thresholds},
  )


def read_hours(
  texts: Sequence[str], sources: Sequence[Source], bundle: Bundle | ObjectBundle
) -> dict[str, Thresholds]:
  """Return the thresholds by the name of the source.

  Args:
    texts: 'FILE' for all live sources, or 'NAME=FILE' for the source of that name.
    sources: all sources.
    bundle: the detector.

  Raises:
    UserError: if a file was not written by `learn_hours` with this bundle, or there is no live
      source of that name.
  """
  live = [source.name for source in sources if source.is_live]
  tables = {}
  for text in texts:
    name, file = named_file(text)
    chosen = [name] if name else live
    if not set(chosen) <= set(live) or not chosen:
      raise UserError(
        f'--thresholds_by_hour={text}: there is no live source of that name, and only these have '
        f'times of the day; there are {", ".join(live[:10]) or "none"}'
      )
    tables |= dict.fromkeys(
      chosen, _table(pathlib.Path(file).expanduser(), bundle.manifest['sha256'])
    )
  return tables


def _table(path: pathlib.Path, sha256: str) -> Thresholds:
  """Return the thresholds of a file."""
  content = read_object(path)
  thresholds = content.get('thresholds')
  try:
    table = {int(hour): float(value) for hour, value in thresholds.items()}
  except (AttributeError, TypeError, ValueError):
    table = None
  if table is None or not all(_is_entry(*entry) for entry in table.items()):
    raise UserError(
      f'{path} was not written by --learn_hours: "thresholds" must have hours from 0 to 23 and '
      'finite numbers, as in {"8": 3.1}; make it again'
    )
  if content.get('bundle') != sha256:
    raise UserError(
      f'{path} has thresholds of another bundle, whose scores have another scale: make it again '
      'with --learn_hours'
    )
  return table


def _is_entry(hour: int, threshold: float) -> bool:
  return 0 <= hour < 24 and math.isfinite(threshold)


def _stretches(path: pathlib.Path) -> list[tuple[int, np.ndarray]]:
  """Return the stretches without a gap.

  Returns:
    For each, the hour of the day, and the times and scores of its frames, float [N, 2].
  """
  try:
    with warnings.catch_warnings(action='ignore'):  # that a file has no scores
      rows = np.loadtxt(path, delimiter=',', skiprows=1, usecols=(0, 1, 2), ndmin=2)
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror or error}') from None
  except ValueError as error:
    raise UserError(f'{path} is not a scores.csv of detect: {error}') from None
  if not len(rows) or rows[:, 1].min() < _EARLIEST_S:
    raise UserError(f'{path} has no times of the day: only scores of live sources have them')
  frames, times = rows[:, 0], rows[:, 1]
  blocks, inverse = np.unique(times // _ZONE_S, return_inverse=True)
  hours = np.asarray([time.localtime(block * _ZONE_S).tm_hour for block in blocks])[inverse]
  is_new = (np.diff(frames) != 1) | (np.abs(np.diff(times)) > _GAP_S) | (np.diff(hours) != 0)
  starts = np.r_[0, np.flatnonzero(is_new) + 1]
  parts = np.split(rows[:, 1:3], starts[1:])
  return list(zip(hours[starts].tolist(), parts, strict=True))


def _threshold(parts: Sequence[np.ndarray], per_hour: float, name: str) -> float | None:
  """Return and print the threshold of an hour of the day.

  Returns:
    The threshold; None with too little footage.
  """
  seconds = sum(float(part[-1, 0] - part[0, 0]) for part in parts)
  if seconds < LEAST_HOURS * 3600:
    print(f'{name}: {seconds / 3600:.1f} hours of scores, {LEAST_HOURS:g} are needed: left out')
    return None
  scores = [part[:, 1] for part in parts]
  rate = sum(map(len, scores)) / seconds
  found = choose_threshold(
    scores, rule='rate', value=per_hour, frames_per_s=rate, count=count_events
  )
  expected = expected_alarms(scores, found, rate, count=count_events)
  print(
    f'{name}: threshold {found:.3f}, {expected["events"]} events in {expected["hours"]:.1f} hours '
    f'of scores (95 %: {expected["low"]:.2g} to {expected["high"]:.2g} per hour)'
  )
  return found
