"""Whether the orderings of a table hold here, by a paired bootstrap over videos."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.paper.collect import SHOWN, Result, RowResult
from a3dcae_jax.paper.tables import Claim
from a3dcae_jax.scoring.bootstrap import (
  LEAST_VIDEOS,
  Difference,
  paired_count_difference,
  paired_difference,
  paired_gap_difference,
)

SURE = 'sure'
UNSURE = 'unsure'
CONTRADICTED = 'contradicted'

COUNTED = ('true_positives', 'false_alarms')
"""The two figures of Table X."""

Pairs = Sequence[tuple[Result, Result]]
"""The results of two rows, of the same seeds."""


class Verdict(NamedTuple):
  """Whether an ordering holds.

  Attributes:
    claim: the ordering.
    paper: the paper's differences in the two figures of a row; None where it prints none.
    seeds: number of seeds that both rows have.
    differences: name of a figure, such as a normalisation -> difference; empty if a row has no
      results.
    note: why there is no difference, or what limits it; '' if nothing does.
  """

  claim: Claim
  paper: tuple[float | None, float | None]
  seeds: int
  differences: Mapping[str, Difference]
  note: str = ''

  def certainty(self, name: str) -> str:
    """Return `SURE`, `UNSURE` or `CONTRADICTED`; '-' without results."""
    return _certainty(self.differences.get(name), 1)

  def count_certainty(self, name: str) -> str:
    """Return the same for a figure of `COUNTED`, by the paper's order on this set."""
    printed = self.paper[COUNTED.index(name)]
    if printed is None:
      return '-'
    return _certainty(self.differences.get(name), printed) if printed else 'equal in the paper'


def _certainty(found: Difference | None, sign: float) -> str:
  """Return whether the interval of a difference has a sign; '-' without one."""
  if found is None:
    return '-'
  if found.low is None:
    return UNSURE
  low, high = sorted((sign * found.low, sign * found.high))
  if low > 0:
    return SURE
  return CONTRADICTED if high < 0 else UNSURE


def auc_differences(pairs: Pairs) -> dict[str, Difference]:
  """Return the differences of the AUC in points, by normalisation."""
  return {
    how: Difference(*(None if value is None else 100 * value for value in found))
    for how in SHOWN
    if (found := _of_scores(pairs, how, paired_difference))
  }


def gap_differences(pairs: Pairs) -> dict[str, Difference]:
  """Return the difference of the score gap under Eq. 14 (Fig. 4)."""
  found = _of_scores(pairs, 'eq14', paired_gap_difference)
  return {'eq14': found} if found else {}


def count_differences(pairs: Pairs) -> dict[str, Difference]:
  """Return the differences of the counts of Table X, by name."""
  if not _same_videos(pairs):
    return {}
  counts = [[result.event_counts() for result in pair] for pair in pairs]
  found = {}
  for name, field in zip(COUNTED, ('found', 'false_alarms'), strict=True):
    first, second = (
      np.asarray([[getattr(video, field) for video in pair[index]] for pair in counts])
      for index in (0, 1)
    )
    found[name] = paired_count_difference(first, second)
  return found


def verdicts(
  claims: Sequence[Claim],
  rows: Sequence[RowResult],
  compare: Callable[[Pairs], Mapping[str, Difference]] = auc_differences,
) -> list[Verdict]:
  """Return whether each claim of a table holds.

  Args:
    claims: the claims.
    rows: the rows of the table.
    compare: returns the differences of two rows.
  """
  by_label = {row.label: row for row in rows}
  pairs = [(by_label[claim.better], by_label[claim.worse]) for claim in claims]
  return [_verdict(claim, *pair, compare) for claim, pair in zip(claims, pairs, strict=True)]


def rule(figure: str, side: str = 'above 0') -> str:
  """Return in words how verdicts on a figure are reached.

  Args:
    figure: the figure, as in 'the AUC'.
    side: where the interval is for the claim.
  """
  other = 'below 0' if side == 'above 0' else 'on the other side'
  return (
    f'The difference of {figure} of two rows is the mean over seeds. Its 95 % interval is over '
    'draws of test videos and seeds with replacement, the same for both rows. sure: the interval '
    f'is {side}; contradicted: it is {other}; unsure: it has 0 inside'
  )


def coarseness(videos: int, seeds: int) -> str:
  """Return a sentence on what the intervals of so few videos and seeds leave out."""
  if videos < LEAST_VIDEOS:
    return (
      f'There are {videos} test videos: no interval is given for fewer than {LEAST_VIDEOS}, and '
      'every ordering is unsure'
    )
  return (
    f'There are {videos} test videos and {seeds} {"seed" if seeds == 1 else "seeds"}. With so few, '
    'the interval is coarse and rather too narrow: a verdict near its edge may turn with one more '
    'video or seed'
  )


def _verdict(
  claim: Claim,
  better: RowResult,
  worse: RowResult,
  compare: Callable[[Pairs], Mapping[str, Difference]],
) -> Verdict:
  paper = _paper_differences(better, worse)
  pairs = _pairs(better, worse)
  if not pairs:
    return Verdict(claim, paper, 0, {}, 'a row has no results')
  if all(one.workdir == two.workdir for one, two in pairs):
    return Verdict(claim, paper, len(pairs), {}, 'both rows are the same run with this config')
  differences = compare(pairs)
  note = '' if differences else 'the test videos have only one class, or differ'
  return Verdict(claim, paper, len(pairs), differences, note)


def _paper_differences(better: RowResult, worse: RowResult) -> tuple[float | None, float | None]:
  one, two = (row.paper or (None, None) for row in (better, worse))
  first, second = (
    None if None in pair else pair[0] - pair[1] for pair in zip(one, two, strict=True)
  )
  return first, second


def _pairs(better: RowResult, worse: RowResult) -> list[tuple[Result, Result]]:
  """Return the results of seeds that both rows have."""
  others = {result.seed: result for result in worse.results}
  return [(result, others[result.seed]) for result in better.results if result.seed in others]


def _of_scores(pairs: Pairs, how: str, compare: Callable[..., Difference | None]):
  """Return a difference of scores under a normalisation; None if it is not defined."""
  if not _same_videos(pairs):
    return None
  first = [one.scores(how) for one, _ in pairs]
  second = [two.scores(how) for _, two in pairs]
  return compare(first, second, pairs[0][0].videos.labels)


def _same_videos(pairs: Pairs) -> bool:
  """Return whether all results are of the same labelled videos."""
  lengths = [len(video) for video in pairs[0][0].videos.labels or []]
  results = [result for pair in pairs for result in pair]
  return bool(lengths) and all(
    [len(video) for video in result.videos.errors] == lengths for result in results
  )
