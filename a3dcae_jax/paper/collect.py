"""From the results of runs to the rows of a table."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.files import read_json, read_object
from a3dcae_jax.config import fields
from a3dcae_jax.evaluation.results import smoothed_scores
from a3dcae_jax.paper.plan import Job, Jobs, is_done, read_state
from a3dcae_jax.paper.tables import BASE, RECIPES, TABLES, printed
from a3dcae_jax.run.workdir import PROVENANCE
from a3dcae_jax.scoring.events import EventCounts, detect_events, match_events
from a3dcae_jax.scoring.schema import validate_metrics
from a3dcae_jax.scoring.tables import read_scores

SHOWN = ('eq14', 'raw')
"""Normalisations that the tables show: the paper's, and the errors as they are."""


class TestVideos(NamedTuple):
  """The test videos of a run, as `scoring.tables.read_scores` returns them."""

  names: list[str]
  errors: list[np.ndarray]
  scores: list[np.ndarray]
  labels: list[np.ndarray] | None


@dataclasses.dataclass(frozen=True)
class Result:
  """The results of one run.

  Attributes:
    seed: its seed.
    workdir: its folder.
    metrics: the content of its `metrics.json`.
    minutes: time of all its processes; None for a run made by hand.
    device: what it ran on.
    budget: its updates and its clips per update, in words.
  """

  seed: int
  workdir: pathlib.Path
  metrics: Mapping[str, Any]
  minutes: float | None
  device: str
  budget: str

  @functools.cached_property
  def videos(self) -> TestVideos:
    """The content of its `scores.csv`."""
    return TestVideos(*read_scores(self.workdir / 'scores.csv'))

  def scores(self, how: str) -> list[np.ndarray]:
    """Return the smoothed scores of each test video under a normalisation."""
    smoothing = self.metrics['protocol']['smoothing']
    options = fields.Eval(smoothing_frames=smoothing['frames'], smoothing_mode=smoothing['mode'])
    smooth_first = smoothing['of'] == 'errors'
    calibration = self.metrics['calibration']
    train = {'train_mean': calibration['mean'], 'train_std': calibration['std']}
    return smoothed_scores(self.videos.errors, how, options, smooth_first=smooth_first, **train)

  def event_counts(self) -> list[EventCounts]:
    """Return the counts of each labelled test video, whose sums are those of Table X."""
    threshold = self.metrics['events']['threshold']
    detected = [detect_events(video, threshold=threshold) for video in self.scores('zscore')]
    videos = zip(detected, self.videos.labels or [], strict=True)
    return [match_events([events], [truth]) for events, truth in videos]


@dataclasses.dataclass(frozen=True)
class RowResult:
  """A row of a table.

  Attributes:
    label: as the paper prints it.
    paper: the paper's two figures on this data set; None without them.
    results: the results of its runs, by seed; empty for a row that is not run.
    missing: seeds whose results are not there.
  """

  label: str
  paper: tuple[float | None, float | None] | None
  results: tuple[Result, ...] = ()
  missing: tuple[int, ...] = ()

  def values(self, how: str, name: str) -> list[float]:
    """Return a figure of each run: 'auc', 'eer' or 'score_gap' under a normalisation."""
    return [result.metrics['metrics'][how][name] for result in self.results]


@dataclasses.dataclass(frozen=True)
class Spread:
  """The mean of a figure over seeds, its least and its largest value."""

  mean: float
  least: float
  most: float
  count: int

  @classmethod
  def of(cls, values: Iterable[float | None]) -> 'Spread | None':
    """Return the spread of values; None if there is none, or one is not defined."""
    found = list(values)
    if not found or any(value is None for value in found):
      return None
    return cls(float(np.mean(found)), min(found), max(found), len(found))


def collect(name: str, jobs: Jobs, seeds: Sequence[int], data_set: str) -> list[RowResult]:
  """Return the rows of a table: those that the paper prints, and those that are run.

  Args:
    name: name of the table.
    jobs: jobs of the plan.
    seeds: the seeds.
    data_set: name of the data set, whose figures are taken from the paper.
  """
  rows = TABLES[name].rows
  paper = printed(name)
  labels = [label for label in paper if data_set in paper[label] or label in rows]
  labels += [label for label in rows if label not in labels]
  found = []
  for label in sorted(labels, key=lambda label: label in rows):
    own = paper.get(label, {}).get(data_set)
    found.append(_row(label, own, rows.get(label), jobs, seeds))
  return found


def baselines(jobs: Jobs, seeds: Sequence[int]) -> dict[str, Mapping[str, Any]]:
  """Return the figures of the baselines: name -> normalisation -> figures."""
  for seed in seeds:
    job = jobs.get((BASE, seed))
    if job and is_done(job):
      return read_result(job).metrics['baselines'] or {}
  return {}


def read_result(job: Job) -> Result:
  """Return the results of a job that is done."""
  path = job.workdir / 'metrics.json'
  provenance = read_object(job.workdir / PROVENANCE)
  devices = provenance['devices']
  metrics = validate_metrics(read_json(path), source=str(path))
  return Result(
    seed=job.seed,
    workdir=job.workdir,
    metrics=metrics,
    minutes=read_state(job).get('minutes'),
    device=f'{devices["count"]} {devices["kind"]}',
    budget=_budget(job, metrics),
  )


def _row(
  label: str,
  paper: tuple[float | None, float | None] | None,
  recipe: str | None,
  jobs: Jobs,
  seeds: Sequence[int],
) -> RowResult:
  if recipe is None:
    return RowResult(label, paper)
  results = []
  missing = []
  for seed in seeds:
    job = jobs[recipe, seed]
    if is_done(job):
      results.append(read_result(job))
    else:
      missing.append(seed)
  return RowResult(label, paper, tuple(results), tuple(missing))


def _budget(job: Job, metrics: Mapping[str, Any]) -> str:
  if job.settings is None:
    return f'sum of {" and ".join(RECIPES[job.recipe].sum_of)}'
  train = job.settings.train
  return f'{metrics["checkpoint_step"]} x {train.batch_size}'
