"""Published counts of a data set, and how a copy differs from them."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Published:
  """Published counts. Empty values mean that a count is not known.

  Attributes:
    train: frames of each training clip, in the order of the clips.
    test: frames of each test clip.
    abnormal: label set -> abnormal frames of each test clip.
    totals: label set -> abnormal frames of all test clips, if there is no count for each clip.
    videos: split -> number of videos, if there is no count for each of them.
    frames: split -> number of frames of these videos.
    tracks: number of abnormal objects or events in all test videos.
    whole: frames of the one long video that is cut in two.
    by_position: clips have no number in their name. They are counted through the whole split.
  """

  train: tuple[int, ...] = ()
  test: tuple[int, ...] = ()
  abnormal: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  totals: Mapping[str, int] = dataclasses.field(default_factory=dict)
  videos: Mapping[str, int] = dataclasses.field(default_factory=dict)
  frames: Mapping[str, int] = dataclasses.field(default_factory=dict)
  tracks: int = 0
  whole: int = 0
  by_position: bool = False


def differences(
  published: Published, index: Mapping[str, Any], labels: np.ndarray | None
) -> list[str]:
  """Describe the clips that a copy lacks and the counts in which it differs.

  Args:
    published: the published counts.
    index: index of the frame cache, with its splits.
    labels: uint8 [N] of the test frames, or None.

  Returns:
    Lines of text. For a whole set with the published counts, one line that says so.
  """
  missing = []
  lines = []

  for split in ('train', 'test'):
    videos = index['splits'][split]['videos']
    lengths = getattr(published, split)
    numbers = _clip_numbers(videos, lengths, by_position=published.by_position)
    missing += _missing_clips(split, numbers, lengths)
    missing += _missing_videos(split, len(videos), published.videos.get(split, 0))
    lines += _frame_counts(split, videos, numbers, lengths)
    if split == 'test' and labels is not None:
      counts = published.abnormal.get(index['label_set'], ())
      lines += _abnormal_counts(videos, numbers, counts, labels, index['label_set'])

  is_whole = bool(published.test or published.videos.get('test')) and not missing
  if is_whole:
    lines += _frame_totals(published, index)
    lines += _track_total(published, index)
  if is_whole and labels is not None:
    lines += _abnormal_total(published, index['label_set'], labels)
  lines += _whole_video(published, index)

  if is_whole and not lines:
    return [_all_equal(published, index, labels)]
  return missing + lines


def _clip_numbers(
  videos: Sequence[Mapping[str, Any]], lengths: Sequence[int], *, by_position: bool
) -> list[int]:
  """Return the number of each clip, from 1.

  A clip has number 0 if clips are numbered by position and the split is not complete.
  """
  if not by_position:
    return [int('0' + re.sub(r'\D', '', video['name'])) for video in videos]
  if len(videos) == len(lengths):
    return list(range(1, len(videos) + 1))
  return [0] * len(videos)


def _frame_counts(
  split: str, videos: Sequence[Mapping[str, Any]], numbers: Sequence[int], lengths: Sequence[int]
) -> Iterator[str]:
  """Yield a line for each clip whose number of frames differs."""
  if not lengths:
    return
  for video, number in zip(videos, numbers, strict=True):
    if number == 0 and len(videos) < len(lengths):
      continue
    published = lengths[number - 1] if 1 <= number <= len(lengths) else 'no such clip'
    if published != video['num_frames']:
      yield (
        f'{split} clip {video["name"]} has {video["num_frames"]} frames, as published {published}'
      )


def _missing_clips(split: str, numbers: Sequence[int], lengths: Sequence[int]) -> list[str]:
  absent = sorted(set(range(1, len(lengths) + 1)) - set(numbers))
  if not absent:
    return []
  if not any(numbers):
    return [f'{split}: {len(numbers)} of the {len(lengths)} published clips are here']
  present = len(lengths) - len(absent)
  return [
    f'{split}: {present} of the {len(lengths)} published clips are here; '
    f'missing are {_ranges(absent)}'
  ]


def _missing_videos(split: str, count: int, published: int) -> list[str]:
  """Return a line if a split has another number of videos than was published."""
  if not published or count == published:
    return []
  if count < published:
    return [f'{split}: {count} of the {published} published videos are here']
  return [f'{split}: {count} videos are here, as published {published}']


def _frame_totals(published: Published, index: Mapping[str, Any]) -> Iterator[str]:
  """Yield a line for each split whose number of frames differs."""
  for split, frames in published.frames.items():
    count = sum(video['num_frames'] for video in index['splits'][split]['videos'])
    if count != frames:
      yield f'{count:,} {split} frames, as published {frames:,}'


def _track_total(published: Published, index: Mapping[str, Any]) -> list[str]:
  """Return a line if the number of tracks differs."""
  tracks = index['splits']['test'].get('tracks')
  if not published.tracks or tracks is None:
    return []
  count = sum(len({region[0] for region in regions}) for regions in tracks.values())
  if count == published.tracks:
    return []
  return [f'{count:,} tracks in the test videos, as published {published.tracks:,}']


def _abnormal_counts(
  videos: Sequence[Mapping[str, Any]],
  numbers: Sequence[int],
  counts: Sequence[int],
  labels: np.ndarray,
  label_set: str,
) -> Iterator[str]:
  """Yield a line for each test clip whose number of abnormal frames differs."""
  first = 0
  for video, number in zip(videos, numbers, strict=True):
    count = int(np.sum(labels[first : first + video['num_frames']]))
    first += video['num_frames']
    if 1 <= number <= len(counts) and count != counts[number - 1]:
      yield (
        f'test clip {video["name"]} has {count} abnormal frames ({label_set}), '
        f'as published {counts[number - 1]}'
      )


def _abnormal_total(published: Published, label_set: str, labels: np.ndarray) -> list[str]:
  total = published.totals.get(label_set)
  if total is None or labels.sum() == total:
    return []
  return [f'{labels.sum():,} abnormal test frames ({label_set}), as published {total:,}']


def _whole_video(published: Published, index: Mapping[str, Any]) -> list[str]:
  count = 0
  for split in index['splits'].values():
    count += sum(video['num_frames'] for video in split['videos'])
  if not published.whole or count == published.whole:
    return []
  return [f'{count:,} frames in both parts, as published {published.whole:,}']


def _all_equal(published: Published, index: Mapping[str, Any], labels: np.ndarray | None) -> str:
  videos = index['splits']['test']['videos']
  frames = sum(video['num_frames'] for video in videos)
  noun = 'clips' if published.test else 'videos'
  text = f'a whole set with the published counts: {len(videos)} test {noun}, {frames:,} frames'
  if labels is not None:
    text += f', {labels.sum():,} abnormal ({index["label_set"]})'
  return text


def _ranges(numbers: Sequence[int]) -> str:
  """Format sorted numbers as ranges: [1, 2, 3, 7] -> '1-3, 7'."""
  spans = []
  for number in numbers:
    if spans and number == spans[-1][1] + 1:
      spans[-1][1] = number
    else:
      spans.append([number, number])
  return ', '.join(str(first) if first == last else f'{first}-{last}' for first, last in spans)
