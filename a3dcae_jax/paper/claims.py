"""Whether the orderings of a table hold here, by a paired bootstrap over videos."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from a3dcae_jax.paper.collect import SHOWN, Result, RowResult
from a3dcae_jax.paper.tables import Claim
from a3dcae_jax.scoring.bootstrap import LEAST_VIDEOS, Difference, paired_difference

SURE = 'sure'
UNSURE = 'unsure'
CONTRADICTED = 'contradicted'

RULE = (
  'The difference of the AUC of two rows is the mean over seeds. Its 95 % interval is over draws '
  'of test videos and seeds with replacement, the same for both rows. sure: the interval is above '
  '0; contradicted: it is below 0; unsure: it has 0 inside'
)


class Verdict(NamedTuple):
  """Whether an ordering holds.

  Attributes:
    claim: the ordering.
    paper: the paper's difference in points of AUC on this data set; None without it.
    seeds: number of seeds that both rows have.
    differences: normalisation -> difference in points; empty if a row has no results.
    note: why there is no difference, or what limits it; '' if nothing does.
  """

  claim: Claim
  paper: float | None
  seeds: int
  differences: Mapping[str, Difference]
  note: str = ''

  def certainty(self, how: str) -> str:
    """Return `SURE`, `UNSURE` or `CONTRADICTED`; '-' without results."""
    found = self.differences.get(how)
    if found is None:
      return '-'
    if found.low is not None and found.low > 0:
      return SURE
    if found.high is not None and found.high < 0:
      return CONTRADICTED
    return UNSURE


def verdicts(claims: Sequence[Claim], rows: Sequence[RowResult]) -> list[Verdict]:
  """Return whether each claim of a table holds."""
  by_label = {row.label: row for row in rows}
  return [_verdict(claim, by_label[claim.better], by_label[claim.worse]) for claim in claims]


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


def _verdict(claim: Claim, better: RowResult, worse: RowResult) -> Verdict:
  paper = _paper_difference(better, worse)
  pairs = _pairs(better, worse)
  if not pairs:
    return Verdict(claim, paper, 0, {}, 'a row has no results')
  if all(one.workdir == two.workdir for one, two in pairs):
    return Verdict(claim, paper, len(pairs), {}, 'both rows are the same run with this config')
  differences = {}
  for how in SHOWN:
    found = _difference(pairs, how)
    if found:
      differences[how] = found
  note = '' if differences else 'the test videos have only one class, or differ'
  return Verdict(claim, paper, len(pairs), differences, note)


def _paper_difference(better: RowResult, worse: RowResult) -> float | None:
  figures = [row.paper[0] if row.paper else None for row in (better, worse)]
  return None if None in figures else figures[0] - figures[1]


def _pairs(better: RowResult, worse: RowResult) -> list[tuple[Result, Result]]:
  """Return the results of seeds that both rows have."""
  others = {result.seed: result for result in worse.results}
  return [(result, others[result.seed]) for result in better.results if result.seed in others]


def _difference(pairs: Sequence[tuple[Result, Result]], how: str) -> Difference | None:
  """Return the difference in points; None if it is not defined."""
  labels = pairs[0][0].videos.labels or []
  first = [one.scores(how) for one, _ in pairs]
  second = [two.scores(how) for _, two in pairs]
  lengths = [len(video) for video in labels]
  if not labels or any(_lengths(scores) != lengths for scores in (*first, *second)):
    return None
  found = paired_difference(first, second, labels)
  if found is None:
    return None
  return Difference(*(None if value is None else 100 * value for value in found))


def _lengths(scores: Sequence[np.ndarray]) -> list[int]:
  return [len(video) for video in scores]
