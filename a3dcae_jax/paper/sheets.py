"""Tables of text and numbers, made from rows of results."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.paper.claims import (
  COUNTED,
  Verdict,
  coarseness,
  count_differences,
  rule,
  verdicts,
)
from a3dcae_jax.paper.collect import SHOWN, Result, RowResult, Spread
from a3dcae_jax.paper.speed import REPS, Speed
from a3dcae_jax.paper.tables import TABLES
from a3dcae_jax.report.plots import lines_plot
from a3dcae_jax.report.table import baseline_title, figures_cell
from a3dcae_jax.scoring.paper_figures import TRUE_EVENTS
from a3dcae_jax.scoring.protocol import describe

_MOST_ROWS = 40  # of a table; more are drawn

Cells = list[list[str]]
"""Lines of cells; the first has the titles."""


@dataclasses.dataclass(frozen=True)
class Sheet:
  """A table or figure, ready to be written.

  Attributes:
    name: of its files, such as 'table_V'.
    title: heading.
    cells: lines of cells, the first with the titles; empty for a figure without a table.
    records: the same figures as numbers, one mapping per line of the CSV file.
    notes: sentences below the table.
    claims: lines of cells on the claims, the first with the titles; may be empty.
    marked: titles of the rows that are highlighted.
    plots: name -> Bokeh figure, drawn below the tables.
    html: further HTML below the plots.
  """

  name: str
  title: str
  cells: Cells = dataclasses.field(default_factory=list)
  records: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  claims: Cells = dataclasses.field(default_factory=list)
  marked: frozenset[str] = frozenset()
  plots: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  html: str = ''


def sheet_name(table: str) -> str:
  """Return the name of the files of a table or figure."""
  return table if not table.isupper() else f'table_{table}'


def sheet_title(table: str) -> str:
  """Return the heading of a table or figure."""
  title = TABLES[table].title
  if table.isupper():
    return f'Table {table}. {title}'
  if table.startswith('fig'):
    return f'Fig. {table.removeprefix("fig")}. {title}'
  return title


def results_sheet(
  table: str, rows: Sequence[RowResult], baselines: Mapping[str, Mapping[str, Any]]
) -> Sheet:
  """Return a table of AUC and EER beside the paper's, with baselines and claims."""
  found = verdicts(TABLES[table].claims, rows)
  lines = [['AUC / EER, %', 'paper', 'Eq. 14', 'raw', 'seeds', 'updates x clips', 'min', 'device']]
  for row in rows:
    lines.append(_results_line(row))
  for name, figures in baselines.items():
    cells = [figures_cell(figures.get(how)) for how in SHOWN]
    lines.append([baseline_title(name), '-', *cells, '-', 'nothing learnt', '-', '-'])
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    cells=lines,
    records=_result_records(rows, baselines),
    notes=[*_result_notes(rows), *(claim_notes(rows, rule('the AUC')) if found else ())],
    claims=_claim_cells(found) if found else [],
    marked=frozenset(row.label for row in rows if row.results),
  )


def events_sheet(table: str, rows: Sequence[RowResult]) -> Sheet:
  """Return a table of event counts beside the paper's (Table X)."""
  first = _first_result(rows)
  printed = TRUE_EVENTS.get(first.metrics['data']['name']) if first else None
  title = 'true positives / false alarms'
  paper = 'paper' if printed is None else f'paper, {printed} true events'
  lines = [[title, paper, 'here, seed by seed', 'true events', 'seeds', 'false alarms per hour']]
  records = []
  for row in rows:
    events = [result.metrics['events'] for result in row.results]
    lines.append(_events_line(row, events))
    for result, counts in zip(row.results, events, strict=True):
      names = ('true_positives', 'false_alarms', 'true_events', 'threshold')
      record = {'row': row.label, 'source': 'run', 'seed': result.seed}
      records.append(record | {name: counts[name] for name in names})
    if row.paper:
      found, alarms = row.paper
      record = {'row': row.label, 'source': 'paper', 'true_positives': found}
      records.append(record | {'false_alarms': alarms, 'true_events': printed})
  found = verdicts(TABLES[table].claims, rows, count_differences)
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    cells=lines,
    records=records,
    notes=[
      *_event_notes(rows),
      *_missing_notes(rows),
      *claim_notes(rows, rule('a count', "on the paper's side of 0")),
    ],
    claims=_count_cells(found),
    marked=frozenset(row.label for row in rows if row.results),
  )


def speed_sheet(
  table: str,
  rows: Sequence[RowResult],
  speeds: Mapping[str, Speed],
  device: str,
  notes: Sequence[str] = (),
) -> Sheet:
  """Return a table of frames per second and AUC beside the paper's (Table VII).

  Args:
    table: name of the table.
    rows: its rows.
    speeds: label of a row -> its speed.
    device: what was measured.
    notes: sentences on the reference implementation, whose columns are there if it was measured.
  """
  has_peer = any(speed.peer_frames_per_s for speed in speeds.values())
  titles = ['network', 'frames/s, paper', 'frames/s, here']
  if has_peer:
    titles += ['frames/s, PyTorch', 'here / PyTorch']
  titles += ['GFLOP per frame, XLA', 'MB, peak', 'batch, clips', 'AUC, Eq. 14, here', 'AUC, paper']
  lines = [titles]
  records = []
  for row in rows:
    paper = row.paper or (None, None)
    speed = speeds.get(row.label)
    auc = spread_text(Spread.of(row.values('eq14', 'auc')))
    printed_speed, printed_auc = (_number_text(value) for value in paper)
    cells = _speed_cells(speed, has_peer)
    lines.append([row.label, printed_speed, *cells, auc, printed_auc])
    record = {'row': row.label, 'paper_frames_per_s': paper[0], 'paper_auc': paper[1]}
    records.append(record | _speed_record(speed))
  found = verdicts(TABLES[table].claims, rows)
  return Sheet(
    name=sheet_name(table),
    title=sheet_title(table),
    cells=lines,
    records=records,
    notes=[
      f'Frames/s: median of {REPS} runs of the scoring program of each network, in turn in one '
      f'process on {device}; frames are in memory, and the networks are those of the first seed. '
      'The paper: one RTX 2080 Ti, frames of 224x224',
      *notes,
      *_missing_notes(rows),
      *claim_notes(rows, rule('the AUC')),
    ],
    claims=_claim_cells(found),
    marked=frozenset(speeds),
  )


def data_sheet(
  name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], notes: Sequence[str]
) -> Sheet:
  """Return a table, or a plot over the first column if it has many rows."""
  is_long = len(rows) > _MOST_ROWS
  cells = [list(columns), *([_number_text(value) for value in row] for row in rows)]
  return Sheet(
    name=name,
    title=title,
    cells=[] if is_long else cells,
    records=[dict(zip(columns, row, strict=True)) for row in rows],
    notes=list(notes),
    plots={name: lines_plot(columns, rows)} if is_long else {},
  )


def _speed_cells(speed: Speed | None, has_peer: bool) -> list[str]:
  if speed is None:
    return ['-'] * (6 if has_peer else 4)
  flops = None if speed.flops_per_frame is None else speed.flops_per_frame / 1e9
  megabytes = speed.peak_bytes / 1e6
  cells = [f'{speed.frames_per_s:.1f}']
  if has_peer:
    cells += [_number_text(speed.peer_frames_per_s), _ratios_text(speed.ratios)]
  return [*cells, _number_text(flops), f'{megabytes:.0f}', str(speed.batch)]


def _ratios_text(ratios: Sequence[float]) -> str:
  if not ratios:
    return '-'
  return f'{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})'


def _speed_record(speed: Speed | None) -> dict[str, Any]:
  if speed is None:
    return {}
  return speed._asdict() | {'ratios': ' '.join(f'{ratio:.3f}' for ratio in speed.ratios)}


def _number_text(value: Any) -> str:
  if value is None:
    return '-'
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def spread_text(spread: Spread | None) -> str:
  """Return a figure in percent: mean (least to most), or '-' without one."""
  if spread is None:
    return '-'
  text = f'{100 * spread.mean:.1f}'
  if spread.count > 1:
    text += f' ({100 * spread.least:.1f} to {100 * spread.most:.1f})'
  return text


def _results_line(row: RowResult) -> list[str]:
  cells = []
  for how in SHOWN:
    auc = spread_text(Spread.of(row.values(how, 'auc')))
    eer = Spread.of(row.values(how, 'eer'))
    cells.append(f'{auc} / {100 * eer.mean:.1f}' if eer else auc)
  seeds = ', '.join(str(result.seed) for result in row.results) or '-'
  budgets = '; '.join(dict.fromkeys(result.budget for result in row.results)) or '-'
  devices = '; '.join(dict.fromkeys(result.device for result in row.results)) or '-'
  return [row.label, _pair_text(row.paper), *cells, seeds, budgets, _minutes_text(row), devices]


def _minutes_text(row: RowResult) -> str:
  spread = Spread.of(result.minutes for result in row.results)
  return f'{spread.mean:.1f}' if spread else '-'


def _pair_text(pair: tuple[float | None, float | None] | None) -> str:
  if pair is None:
    return '-'
  return ' / '.join('-' if value is None else f'{value:.1f}' for value in pair)


def _result_records(
  rows: Sequence[RowResult], baselines: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """Return records of the figures of runs, of the paper and of baselines."""
  records = []
  for row in rows:
    if row.paper:
      auc, eer = row.paper
      records.append({'row': row.label, 'source': 'paper', 'auc': auc, 'eer': eer})
    for result in row.results:
      for how in SHOWN:
        figures = result.metrics['metrics'][how]
        records.append(
          {'row': row.label, 'source': 'run', 'seed': result.seed}
          | _percentages(how, figures)
          | {'budget': result.budget, 'minutes': result.minutes, 'device': result.device}
        )
  for name, of_all in baselines.items():
    for how in SHOWN:
      records.append({'row': name, 'source': 'baseline'} | _percentages(how, of_all[how]))
  return records


def _percentages(how: str, figures: Mapping[str, Any]) -> dict[str, Any]:
  record = {'normalisation': how}
  for name in ('auc', 'eer'):
    value = figures[name]
    record[name] = None if value is None else round(100 * value, 3)
  return record


def _result_notes(rows: Sequence[RowResult]) -> list[str]:
  """Return sentences on how the figures of a table were computed."""
  notes = [
    'AUC: mean over the seeds (least to most); EER: mean. Frame-level, over all frames together. '
    'min: minutes of all processes of a run, mean over the seeds. Runs at the same time slow each '
    'other down. Figures of the paper are of its full test set and of networks at 224x224'
  ]
  first = _first_result(rows)
  if first:
    data = first.metrics['data']
    notes.append(
      f'{data["name"]}: {data["frames"]:,} test frames ({data["abnormal_frames"]:,} abnormal) in '
      f'{data["videos"]} videos; labels {data["label_set"]}. First row with results: '
      f'{describe(first.metrics)}'
    )
  return [*notes, *_missing_notes(rows)]


def _missing_notes(rows: Sequence[RowResult]) -> list[str]:
  notes = []
  for row in rows:
    if row.missing:
      seeds = ', '.join(map(str, row.missing))
      notes.append(f'no results yet: {row.label}, seed {seeds}')
  return notes


def claim_notes(rows: Sequence[RowResult], sentence: str) -> list[str]:
  """Return sentences on verdicts: how they are reached, and how coarse they are.

  Args:
    rows: rows of the table.
    sentence: what `claims.rule` returns.
  """
  first = _first_result(rows)
  if not first:
    return [sentence]
  seeds = max(len(row.results) for row in rows)
  return [sentence, coarseness(first.metrics['data']['videos'], seeds)]


def _first_result(rows: Sequence[RowResult]) -> Result | None:
  return next((result for row in rows for result in row.results), None)


def _claim_cells(found: Sequence[Verdict]) -> Cells:
  titles = ['the paper: higher AUC', 'than', 'paper, points']
  for how in ('Eq. 14', 'raw'):
    titles += [f'{how}: points (95 %)', f'{how}: holds?']
  lines = [titles]
  for verdict in found:
    line = [verdict.claim.better, verdict.claim.worse, _signed(verdict.paper[0], '+.1f')]
    for how in SHOWN:
      line += [difference_text(verdict, how), verdict.certainty(how)]
    lines.append(line)
  return lines


def _count_cells(found: Sequence[Verdict]) -> Cells:
  """Return the verdicts on Table X: the paper's counts order the rows of a set."""
  lines = [['row', 'against', 'count', 'paper', 'here (95 %)', "the paper's ordering holds?"]]
  for verdict in found:
    for name, printed in zip(COUNTED, verdict.paper, strict=True):
      line = [verdict.claim.better, verdict.claim.worse, name.replace('_', ' ')]
      line += [_signed(printed, '+.0f'), difference_text(verdict, name)]
      lines.append([*line, verdict.count_certainty(name)])
  return lines


def difference_text(verdict: Verdict, name: str, style: str = '+.1f') -> str:
  """Return a difference with its interval, or why there is none.

  Args:
    verdict: the verdict.
    name: name of the difference.
    style: format of its numbers.
  """
  found = verdict.differences.get(name)
  if found is None:
    return verdict.note
  value, low, high = (_signed(number, style) for number in found)
  return value if found.low is None else f'{value} ({low} to {high})'


def _signed(number: float | None, style: str) -> str:
  return '-' if number is None else format(number, style)


def _events_line(row: RowResult, events: Sequence[Mapping[str, Any]]) -> list[str]:
  counts = [f'{each["true_positives"]}/{each["false_alarms"]}' for each in events]
  totals = dict.fromkeys(str(each['true_events']) for each in events)
  hourly = [f'{each["false_alarms_per_hour"]:.0f}' for each in events]
  seeds = [str(result.seed) for result in row.results]
  paper = '-'
  if row.paper:
    paper = '/'.join(f'{value:.0f}' for value in row.paper if value is not None)
  cells = [', '.join(cell) or '-' for cell in (counts, totals, seeds, hourly)]
  return [row.label, paper, *cells]


def _event_notes(rows: Sequence[RowResult]) -> list[str]:
  first = _first_result(rows)
  if not first:
    return []
  events = first.metrics['events']
  rule = events['protocol']
  return [
    events['matching_rule'],
    f'Events are maxima of the z-score from the threshold on, with a persistence of at least '
    f'{rule["persistence"]:g}; each spans {rule["window_frames"]} frames, and those less than '
    f'{rule["merge_frames"]} frames apart are one',
    f'The threshold comes from training scores alone: {rule["threshold_rule"]} '
    f'{rule["threshold_value"]:g}',
    'The paper counts the events of its full test set, by a rule that it does not print',
  ]
