"""The order of images by the numbers or the time stamps in their names."""

import decimal
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError

_SHOWN = 5  # numbers or series that an error message lists
_STAMP = 10**9  # numbers from here on are time stamps: seconds since 1970, and finer ones
# Date and time of day, as 20240131235959 or with separators, as 2024-01-31_23-59-59.125; or a time
# of day with separators, as 23h59m59s.
_TIME = re.compile(
  r'(?:19|20)\d\d\D?(?:0[1-9]|1[0-2])\D?(?:0[1-9]|[12]\d|3[01])\D{0,3}'
  r'(?:[01]\d|2[0-3])\D?[0-5]\d\D?[0-6]\d'
  r'|(?<!\d)(?:[01]\d|2[0-3])\D[0-5]\d\D[0-6]\d(?!\d)'
)


class Order(NamedTuple):
  """Names in the order of their frames.

  Attributes:
    names: the names.
    note: what a user should know of their numbers; '' if they count by ones.
  """

  names: list[str]
  note: str = ''


class _Frame(NamedTuple):
  """What a frame is sorted by, and its name."""

  key: int | decimal.Decimal | tuple[int, ...]
  name: str


def in_order(names: Sequence[str]) -> Order:
  """Put the names of frames in order.

  The number of a frame is the first number that differs between the names, whatever stands before
  and after it. It may be of any size and have any step. Times of day, decimals, and
  numbers from 1,000,000,000 on are time stamps, whose distances may differ.

  Args:
    names: file names with their endings; at least one.

  Raises:
    UserError: if a name has no number, a number is missing or occurs twice, or the names are those
      of several videos.
  """
  pieces = {name: re.split(r'(\d+)', name.rpartition('.')[0] or name) for name in names}
  for name, split in pieces.items():
    if len(split) == 1:
      raise UserError(f'{name}: an image without a frame number')
  matches = [_TIME.search(name) for name in pieces]
  if all(matches) and len({match.string[: match.start()] for match in matches}) == 1:
    return _by_times([(match.string[match.start() :], match.string) for match in matches])
  _check_one_series(((tuple(split[::2]), name) for name, split in pieces.items()))
  frames = sorted(_numbered(pieces))
  _check_unique(frames)
  return _checked_steps(frames)


def _by_times(timed: Sequence[tuple[str, str]]) -> Order:
  """Order pairs of (time, to the end of the name, name)."""
  frames = []
  for time, name in timed:
    numbers = re.findall(r'\d+', time.rpartition('.')[0] or time)
    frames.append(_Frame(tuple(map(int, numbers)), name))
  frames.sort()
  _check_unique(frames)
  return Order([frame.name for frame in frames], 'frames in the order of their time stamps')


def _check_one_series(grouped: Sequence[tuple[object, str]]) -> None:
  """Check that all names belong to one group, given pairs of (group, name)."""
  groups = {}
  for group, name in grouped:
    groups.setdefault(group, []).append(name)
  if len(groups) == 1:
    return
  firsts = sorted((min(group), len(group)) for group in groups.values())
  shown = ', '.join(f'{name} ({count})' for name, count in firsts[:_SHOWN])
  more = ', ...' if len(firsts) > _SHOWN else ''
  raise UserError(
    f'its images are named like those of {len(firsts)} videos, which begin with (images) '
    f'{shown}{more}; move the images of each video to a folder of its own'
  )


def _numbered(pieces: Mapping[str, Sequence[str]]) -> list[_Frame]:
  """Return the frames, keyed by the first number that differs."""
  columns = list(zip(*(map(int, split[1::2]) for split in pieces.values()), strict=True))
  differing = [index for index, column in enumerate(columns) if len(set(column)) > 1]
  if not differing:
    return [_Frame(number, name) for number, name in zip(columns[-1], pieces, strict=True)]
  first = differing[0]
  place = 2 * first + 1  # of that number in the pieces of a name
  if len(set(columns[first])) < len(pieces) and len(differing) > 1:
    separator = next(iter(pieces.values()))[place + 1]
    if separator == '.' and differing == [first, first + 1]:
      texts = [''.join(split[place : place + 3]) for split in pieces.values()]
      return [_Frame(decimal.Decimal(text), name) for text, name in zip(texts, pieces, strict=True)]
    _check_one_series(list(zip(columns[first], pieces, strict=True)))
  return [_Frame(number, name) for number, name in zip(columns[first], pieces, strict=True)]


def _check_unique(frames: Sequence[_Frame]) -> None:
  for one, other in itertools.pairwise(frames):
    if one.key == other.key:
      number = one.key if isinstance(one.key, int) else 'of a time stamp'
      raise UserError(f'frame number {number} occurs twice: {one.name}, {other.name}')


def _checked_steps(frames: Sequence[_Frame]) -> Order:
  """Check that no number is missing. Time stamps may have gaps.

  Numbers are missing where one step is at least twice the smallest, since there is room for them.
  """
  names = [frame.name for frame in frames]
  numbers = [frame.key for frame in frames]
  steps = [second - first for first, second in itertools.pairwise(numbers)]
  if not steps or set(steps) == {1}:
    return Order(names)
  smallest = min(steps)
  widest = max(steps)
  if numbers[0] >= _STAMP or isinstance(numbers[0], decimal.Decimal):
    gap = f', the widest gap after {names[steps.index(widest)]}' if widest >= 2 * smallest else ''
    return Order(names, f'frames in the order of their time stamps{gap}')
  if widest < 2 * smallest:
    span = str(smallest) if smallest == widest else f'{smallest} to {widest}'
    return Order(names, f'frame numbers in steps of {span}')
  raise UserError(f'missing frame numbers: {_missing(numbers, steps, smallest)}')


def _missing(numbers: Sequence[int], steps: Sequence[int], smallest: int) -> str:
  """List the first missing numbers."""
  missing = []
  for number, step in zip(numbers[:-1], steps, strict=True):
    room = range(number + smallest, number + step - smallest + 1, smallest)
    missing += room[: _SHOWN + 1 - len(missing)]
    if len(missing) > _SHOWN:
      break
  shown = ', '.join(str(number) for number in missing[:_SHOWN])
  return shown + (', ...' if len(missing) > _SHOWN else '')
