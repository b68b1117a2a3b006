"""The order of images by the numbers or the time stamps in their names."""

import datetime
import decimal
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError

_SHOWN = 5  # numbers or series that an error message lists
_STAMP = 10**9  # numbers from here on are time stamps: seconds since 1970, and finer ones
_HALF_DAY_S = 12 * 3600
_DAYTIME_DIGITS = 6
# Date and time of day, as 20240131235959 or with separators, as 2024-01-31_23-59-59.125; or a time
# of day with separators, as 23h59m59s.
_TIME = re.compile(
  r'(?:19|20)\d\d\D?(?:0[1-9]|1[0-2])\D?(?:0[1-9]|[12]\d|3[01])\D{0,3}'
  r'(?:[01]\d|2[0-3])\D?[0-5]\d\D?[0-6]\d'
  r'|(?<!\d)(?:[01]\d|2[0-3])\D[0-5]\d\D[0-6]\d(?!\d)'
)
_HALF_DAY = re.compile(r'[^a-z]*[ap]\.?m(?![a-z])', re.IGNORECASE)  # after a time of day
# The minus may be the sign of the number behind it: no letter, digit or minus is before it.
_SIGNED = re.compile(r'(|.*[^\w-]|.*_)(-?)(\d+)(\D*)')
_HEXADECIMAL = re.compile(r'(.*?)([0-9a-fA-F]{1,16})')


class Order(NamedTuple):
  """Names in the order of their frames.

  Attributes:
    names: the names.
    note: a remark on their numbers; '' if they count by ones.
  """

  names: list[str]
  note: str = ''


class _Frame(NamedTuple):
  """The sort key of a frame, and its name."""

  key: int | decimal.Decimal | tuple[int, ...]
  name: str


def in_order(names: Sequence[str]) -> Order:
  """Put the names of frames in order.

  The number of a frame is the first number that differs between the names. It may have any size and
  any step. Times of day, decimals, and numbers from 1,000,000,000 on are time stamps, whose
  distances may differ. Numbers are hexadecimal where letters and digits of one width count by ones,
  and negative where some have a minus and others have none.

  Args:
    names: file names with their endings; at least one.

  Raises:
    UserError: if a name has no number, a number is missing or occurs twice, or the names are those
      of several videos.
  """
  order = _hexadecimal(names) or _signed(names)
  if order:
    return order
  pieces = {name: re.split(r'(\d+)', _stem(name)) for name in names}
  for name, split in pieces.items():
    if len(split) == 1:
      raise UserError(f'{name}: an image without a frame number; number the images, as 0001.png')
  matches = [_TIME.search(name) for name in pieces]
  if all(matches) and len({match.string[: match.start()] for match in matches}) == 1:
    return _by_times([(match.string[match.start() :], match.string) for match in matches])
  _check_one_series(((tuple(split[::2]), name) for name, split in pieces.items()))
  frames = sorted(_numbered(pieces))
  _check_unique(frames)
  return _checked_steps(frames)


def _stem(name: str) -> str:
  """Return a name without its ending."""
  return name.rpartition('.')[0] or name


def _hexadecimal(names: Sequence[str]) -> Order | None:
  """Order hexadecimal numbers of one width, as 09, 0a, 0b; None if there are none.

  Raises:
    UserError: if numbers are missing, so that it is not certain what the names are.
  """
  matches = {name: _HEXADECIMAL.fullmatch(_stem(name)) for name in names}
  if not all(matches.values()):
    return None
  if len({(match[1], len(match[2])) for match in matches.values()}) > 1:
    return None
  columns = zip(*(match[2] for match in matches.values()), strict=True)
  if not any(len({character.isdigit() for character in column}) > 1 for column in columns):
    return None  # letters at the same places in all names are not digits
  frames = sorted(_Frame(int(match[2], 16), name) for name, match in matches.items())
  span = frames[-1].key - frames[0].key + 1
  if len({frame.key for frame in frames}) == span:
    return Order([frame.name for frame in frames], 'frames in the order of hexadecimal numbers')
  if span > 2 * len(frames):
    return None
  raise UserError(
    f'{names[0]}: names like hexadecimal numbers must count by ones, but some are missing; number '
    'the images in decimals, as 0001.png'
  )


def _signed(names: Sequence[str]) -> Order | None:
  """Order numbers with a sign; None if no name has a minus before its number.

  Raises:
    UserError: if all names have one, which may be a sign or a separator.
  """
  matches = {name: _SIGNED.fullmatch(_stem(name)) for name in names}
  if not all(matches.values()) or not any(match[2] for match in matches.values()):
    return None
  if len({(match[1], match[4]) for match in matches.values()}) > 1:
    return None
  if len(names) > 1 and all(match[2] for match in matches.values()):
    raise UserError(
      f'{names[0]}: the minus before the number may be a sign or a separator; rename the images, '
      'as 0001.png'
    )
  frames = sorted(_Frame(int(match[2] + match[3]), name) for name, match in matches.items())
  _check_unique(frames)
  return _checked_steps(frames)


def _by_times(timed: Sequence[tuple[str, str]]) -> Order:
  """Order pairs of (time, to the end of the name, name).

  Raises:
    UserError: for times of day with AM or PM, or from both sides of midnight without a date.
  """
  frames = []
  for time, name in timed:
    if _HALF_DAY.match(time, _TIME.match(time).end()):
      raise UserError(
        f'{name}: a time of day with AM or PM; write it from 00 to 23 hours, or number the images'
      )
    numbers = re.findall(r'\d+', _stem(time))
    frames.append(_Frame(tuple(map(int, numbers)), name))
  frames.sort()
  _check_unique(frames)
  names = [frame.name for frame in frames]
  seconds = [_seconds(_TIME.search(name)[0]) for name in names]
  steps = [second - first for first, second in itertools.pairwise(seconds)]
  note = 'frames in the order of their time stamps'
  widest = max(steps, default=0)
  if widest < 2 * max(1, min(steps, default=1)) and widest <= _HALF_DAY_S:
    return Order(names, note)
  before, after = names[steps.index(widest) :][:2]
  if widest > _HALF_DAY_S and seconds[-1] < 2 * _HALF_DAY_S:
    raise UserError(
      f'{before} and {after} are more than 12 hours apart, so that midnight may lie between: '
      'put the date before the time of day, or number the images'
    )
  return Order(names, f'{note}, the widest gap after {before}')


def _seconds(time: str) -> int:
  """Return a text of `_TIME` as seconds: of the day, or since a date long ago."""
  digits = re.sub(r'\D', '', time)
  day = 0
  if len(digits) > _DAYTIME_DIGITS:
    # Not of the day itself, which need not exist: 31 February.
    day = datetime.date(int(digits[:4]), int(digits[4:6]), 1).toordinal() + int(digits[6:8])
  daytime = int(digits[-_DAYTIME_DIGITS:])
  return (day * 24 + daytime // 10_000) * 3600 + daytime // 100 % 100 * 60 + daytime % 100


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
    f'{shown}{more}; move the images of each video to a folder of its own, or number those of one '
    'video alike, as 0001.png'
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
  raise UserError(
    f'missing frame numbers: {_missing(numbers, steps, smallest)}; add those images, or number the '
    'others without gaps'
  )


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
