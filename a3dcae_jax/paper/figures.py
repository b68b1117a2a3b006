"""Figures 3 to 8 of the paper, drawn from runs, each with its data."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.plotting import figure

from a3dcae_jax.evaluation.report_data import NUM_STRIPS, ReportSource, extreme_frames
from a3dcae_jax.paper.claims import Verdict, gap_differences, rule, verdicts
from a3dcae_jax.paper.collect import Result, RowResult, Spread
from a3dcae_jax.paper.sheets import (
  Cells,
  Sheet,
  claim_notes,
  difference_text,
  sheet_name,
  sheet_title,
)
from a3dcae_jax.paper.tables import TABLES
from a3dcae_jax.report import plots
from a3dcae_jax.report.contents import VideoScores
from a3dcae_jax.report.page import MAX_VIDEO_PLOTS, feature_map_figures, strip_section
from a3dcae_jax.run.evaluate import pictures_of_run
from a3dcae_jax.training.hooks import read_metrics

LOSSES = {
  'rec': 'reconstruction loss (Fig. 3a)',
  'adv': 'adversarial loss (Fig. 3b); 2 ln 2 = 1.386 if the discriminator cannot tell',
}
_LAST = 10  # the last tenth of the updates is averaged


def losses_sheet(table: str, rows: Sequence[RowResult]) -> Sheet:
  """Return the losses over the updates of each seed (Fig. 3)."""
  lines = [['seed', 'updates', 'rec, first tenth', 'rec, last tenth', 'adv, last tenth']]
  records = []
  drawn = {}
  for result in _results(rows):
    logged = read_metrics(result.workdir / 'metrics.jsonl')
    steps = np.asarray([row['step'] for row in logged])
    for name, title in LOSSES.items():
      if name in logged[0]:
        values = np.asarray([row[name] for row in logged])
        drawn[f'{table}_{name}{result.seed}'] = plots.loss_plot(
          f'seed {result.seed}: {title}', steps, values
        )
    records += [{'seed': result.seed} | _only(row, ('step', *LOSSES)) for row in logged]
    lines.append(_loss_line(result, logged))
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    cells=lines,
    records=records,
    notes=[
      'The paper: the reconstruction loss falls quickly, and the adversarial loss fluctuates about '
      f'2 ln 2 = {2 * math.log(2):.3f}'
    ],
    plots=drawn,
  )


def gaps_sheet(table: str, rows: Sequence[RowResult]) -> Sheet:
  """Return the score gap between abnormal and normal frames, by row (Fig. 4)."""
  lines = [['score gap, Eq. 14', 'mean (least to most)', 'seeds']]
  records = []
  means = {}
  for row in rows:
    spread = Spread.of(row.values('eq14', 'score_gap'))
    if spread is None:
      continue
    means[row.label] = spread.mean
    text = f'{spread.mean:.4f} ({spread.least:.4f} to {spread.most:.4f})'
    lines.append([row.label, text, ', '.join(str(result.seed) for result in row.results)])
    for result in row.results:
      gap = result.metrics['metrics']['eq14']['score_gap']
      records.append({'row': row.label, 'seed': result.seed, 'score_gap': gap})
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    cells=lines,
    records=records,
    notes=[
      'Mean score of abnormal frames minus that of normal ones (Liu et al. 2018). The paper draws '
      'a larger gap with the adversarial loss on Avenue, Ped1 and Ped2, and prints no figures',
      *claim_notes(rows, rule('the gap')),
    ],
    claims=_gap_claims(verdicts(TABLES[table].claims, rows, gap_differences)),
    plots={f'{table}_gaps': _bars(means)} if means else {},
  )


def feature_maps_sheet(table: str, rows: Sequence[RowResult]) -> Sheet:
  """Return feature maps of the same frame by each network (Fig. 5)."""
  shown: dict[str, tuple[str, np.ndarray]] = {}
  records = []
  frame = _most_abnormal(rows)
  for row in rows:
    for result in row.results[:1]:
      source = pictures_of_run(result.workdir)
      for layer, (caption, image) in source.pictures.feature_maps(frame).items():
        shown[f'{row.label} {layer}'] = (f'{row.label}: {caption}', image)
        records += _map_records(row.label, layer, image)
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    records=records,
    notes=[
      f'The frame of highest score: number {frame[1]} of test video {frame[0] + 1}, first seed. '
      'Of each layer, the channel that varies most is shown'
    ],
    html=feature_map_figures(shown),
  )


def examples_sheet(table: str, rows: Sequence[RowResult]) -> Sheet:
  """Return score curves with the labels, and the worst frames (Fig. 6 to 8)."""
  found = _results(rows)[:1]
  if not found:
    return Sheet(name=sheet_name(table), title=sheet_title(table), notes=['no results yet'])
  (result,) = found
  names, _, _, labels = result.videos
  scores = result.scores('eq14')
  drawn = {}
  records = []
  for index, name in enumerate(names):
    truth = None if labels is None else labels[index]
    if index < MAX_VIDEO_PLOTS:
      drawn[f'{table}_video{index}'] = plots.score_plot(VideoScores(name, scores[index], truth))
    records += _score_records(name, scores[index], truth)
  source = pictures_of_run(result.workdir)
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    records=records,
    notes=[
      f'Scores under Eq. 14 of seed {result.seed}; shaded: labelled abnormal. Pictures: input, '
      f'reconstruction and error of the frame of highest score in up to {NUM_STRIPS} videos'
    ],
    plots=drawn,
    html=_strips(source, scores, result.metrics),
  )


def _results(rows: Sequence[RowResult]) -> list[Result]:
  return [result for row in rows for result in row.results]


def _loss_line(result: Result, logged: Sequence[Mapping[str, Any]]) -> list[str]:
  part = max(len(logged) // _LAST, 1)
  cells = [str(result.seed), str(logged[-1]['step'])]
  for name, rows in (('rec', logged[:part]), ('rec', logged[-part:]), ('adv', logged[-part:])):
    values = [row[name] for row in rows if name in row]
    cells.append(f'{np.mean(values):.4g}' if values else '-')
  return cells


def _gap_claims(found: Sequence[Verdict]) -> Cells:
  lines = [['the paper: larger gap', 'than', 'Eq. 14: difference (95 %)', 'holds?']]
  for verdict in found:
    difference = difference_text(verdict, 'eq14', '+.4f')
    claim = verdict.claim
    lines.append([claim.better, claim.worse, difference, verdict.certainty('eq14')])
  return lines


def _only(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
  return {name: row[name] for name in names if name in row}


def _bars(means: Mapping[str, float]) -> figure:
  names = list(means)
  plot = figure(
    height=240, sizing_mode='stretch_width', tools='save', x_range=names, y_axis_label='score gap'
  )
  plot.vbar(x=names, top=list(means.values()), width=0.5, color=plots.BLUE)
  return plot


def _most_abnormal(rows: Sequence[RowResult]) -> tuple[int, int]:
  """Return video and frame of the highest score of the last row that has results."""
  results = _results(rows)
  if not results:
    return 0, 0
  own = [row for row in rows if row.results][-1]
  return extreme_frames(own.results[0].scores('eq14'), most=True)[0]


def _map_records(label: str, layer: str, image: np.ndarray) -> list[dict[str, Any]]:
  records = []
  for row, values in enumerate(np.asarray(image, np.float64)):
    for column, value in enumerate(values.tolist()):
      place = {'network': label, 'layer': layer, 'row': row, 'column': column}
      records.append(place | {'response': f'{value:.4g}'})
  return records


def _score_records(
  name: str, scores: np.ndarray, labels: np.ndarray | None
) -> list[dict[str, Any]]:
  records = []
  for frame, score in enumerate(scores.tolist()):
    label = '' if labels is None else int(labels[frame])
    records.append({'video': name, 'frame': frame, 'score': f'{score:.6g}', 'label': label})
  return records


def _strips(source: ReportSource, scores: Sequence[np.ndarray], metrics: Mapping[str, Any]) -> str:
  frames = extreme_frames(scores, most=True)
  strips = [source.pictures.strip(frame, scores[frame[0]][frame[1]]) for frame in frames]
  return strip_section('Frames of highest score', strips, metrics)
