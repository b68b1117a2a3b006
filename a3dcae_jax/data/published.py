"""What a set's authors published of it, and where a copy differs: named clip by clip."""

import re
from typing import NamedTuple

import numpy as np


class Published(NamedTuple):
  """Counts of a whole set, each tuple in the order of its clips; an empty one is not known.

  train, test: frames of each clip. abnormal: label set -> abnormal frames of each test clip. totals: label set -> abnormal frames of
  all test clips, where no count of each is known. whole: frames of the one long video that is cut in two.
  by_position: clips are numbered by their place in a whole split, not by the number in their name.
  """

  train: tuple = ()
  test: tuple = ()
  abnormal: dict = {}
  totals: dict = {}
  whole: int = 0
  by_position: bool = False


def differences(published, index, labels):
  """Lines on what this copy lacks and where it differs from `published`; one line that says so where it is all there and equal.

  Args: published: `Published`. index: of the cache, with its splits. labels: uint8 [N] of the test frames, or None.
  """
  lines, missing = [], []
  for split in ('train', 'test'):
    videos, lengths = index['splits'][split]['videos'], getattr(published, split)
    numbers = numbers_of(videos, lengths, by_position=published.by_position)
    lines += _frames(split, videos, numbers, lengths)
    missing += _missing(split, numbers, lengths)
    if split == 'test' and labels is not None:
      lines += _abnormal(
        videos, numbers, published.abnormal.get(index['label_set'], ()), labels, index['label_set']
      )
  whole = not missing and bool(published.test)
  total = published.totals.get(index['label_set'])
  if whole and labels is not None and total is not None and labels.sum() != total:
    lines.append(
      f'{labels.sum():,} abnormal test frames ({index["label_set"]}), as published {total:,}'
    )
  lines += _whole(index, published.whole)
  if whole and not lines:
    frames = sum(video['num_frames'] for video in index['splits']['test']['videos'])
    counted = '' if labels is None else f', {labels.sum():,} abnormal ({index["label_set"]})'
    return [
      f'a whole set with the counts published: {len(published.test)} test clips, {frames:,} frames{counted}'
    ]
  return missing + lines


def numbers_of(videos, lengths, *, by_position):
  """The clip number of each video, from 1; 0 where it has none (numbered by position, and not all clips are there)."""
  if by_position:
    return list(range(1, len(videos) + 1)) if len(videos) == len(lengths) else [0] * len(videos)
  return [int('0' + re.sub(r'\D', '', video['name'])) for video in videos]


def _frames(split, videos, numbers, lengths):
  for video, number in zip(videos, numbers, strict=True):
    if not lengths or (number == 0 and len(videos) < len(lengths)):
      continue
    published = lengths[number - 1] if 1 <= number <= len(lengths) else 'no such clip'
    if published != video['num_frames']:
      yield f'{split} clip {video["name"]} has {video["num_frames"]} frames, as published {published}'


def _missing(split, numbers, lengths):
  absent = sorted(set(range(1, len(lengths) + 1)) - set(numbers))
  if not absent:
    return []
  if not any(numbers):
    return [f'{split}: {len(numbers)} of the {len(lengths)} clips published are here']
  return [
    f'{split}: {len(lengths) - len(absent)} of the {len(lengths)} clips published are here; missing are {_ranges(absent)}'
  ]


def _abnormal(videos, numbers, counts, labels, label_set):
  first = 0
  for video, number in zip(videos, numbers, strict=True):
    here = int(np.sum(labels[first : first + video['num_frames']]))
    first += video['num_frames']
    if 1 <= number <= len(counts) and here != counts[number - 1]:
      yield f'test clip {video["name"]} has {here} abnormal frames ({label_set}), as published {counts[number - 1]}'


def _whole(index, whole):
  here = sum(video['num_frames'] for split in index['splits'].values() for video in split['videos'])
  return (
    [f'{here:,} frames in both parts, as published {whole:,}'] if whole and here != whole else []
  )


def _ranges(numbers):
  """[1, 2, 3, 7] -> '1-3, 7'."""
  spans = []
  for number in numbers:
    if spans and number == spans[-1][1] + 1:
      spans[-1][1] = number
    else:
      spans.append([number, number])
  return ', '.join(str(a) if a == b else f'{a}-{b}' for a, b in spans)
