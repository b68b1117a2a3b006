"""`report.html`: one file without a network, readable on a phone and on paper."""

import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.resources import Resources

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.report import plots
from a3dcae_jax.report.contents import Report, Strip
from a3dcae_jax.report.pictures import grey_picture, heat_picture
from a3dcae_jax.report.summary import describe_rank_regression
from a3dcae_jax.report.table import Row, html_table, run_rows
from a3dcae_jax.scoring import paper_figures
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.protocol import describe

# Only Bokeh's plots; its widgets, tables and formulas would make the page three times as large.
BOKEH = Resources(mode='inline', components=['bokeh'])

MAX_VIDEO_PLOTS = 40
"""Limit that keeps the page small; of more videos only the first ones are drawn."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 62rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #e5e5e5;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.run td { font-weight: 600; background: #eef5fa; }
td.main { box-shadow: inset 0 0 0 2px #0072b2; }
.note { color: #555; font-size: .9rem; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
figure div { display: flex; gap: 2px; }
figure img { width: 33.3%; image-rendering: pixelated; }
figcaption { font-size: .85rem; color: #555; }
pre { overflow-x: auto; background: #f6f6f6; padding: .7rem; font-size: .8rem; }
@media (max-width: 40rem) {
  body { padding: .6rem; }
  th, td { white-space: normal; padding: .3rem .35rem; font-size: .82rem; }
}
@media print {
  body { max-width: none; }
  section { break-inside: avoid; }
  details > * { display: block; }
}
"""

BASELINES_NOTE = (
  'The baselines learn nothing: they score a frame by how much it differs from the frame before it '
  '(frame difference) or from the mean image (mean image distance). A run has learnt something '
  'useful only if its figures are clearly better than theirs.'
)
REGRESSION_NOTE = (
  'R^2 is the share of the order of the frames, from small to large errors, that the two baselines '
  'explain together; a large weight on the mean image distance means that the error mostly counts '
  'who is there, on the frame difference that it mostly measures how much moves. No label is used.'
)


def write_report(path: pathlib.Path | str, report: Report) -> None:
  """Write a report as one self-contained HTML file, whole or not at all."""
  script, drawn = _draw(report)
  sections = [
    _summary(report),
    _detections(report.metrics),
    _roc_section(drawn),
    _score_section(report, drawn),
  ]
  for title, strips in report.strips.items():
    sections.append(strip_section(title, strips, report.metrics))
  sections += [_feature_maps(report), _losses(report, drawn), _appendix(report)]
  body = ''.join(sections) + script
  with atomic_write(path) as file:
    file.write(html_page(report.title, body, head=BOKEH.render()))


def html_page(title: str, body: str, *, head: str = '') -> str:
  """Return a whole HTML page.

  Args:
    title: plain text.
    body: HTML below the title.
    head: HTML at the end of the head.
  """
  title = html.escape(title)
  return (
    '<!doctype html>\n'
    f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<style>{STYLE}</style>{head}</head><body><h1>{title}</h1>{body}</body></html>\n'
  )


def _draw(report: Report) -> tuple[str, dict[str, str]]:
  """Return the script that draws all plots, and the HTML of each by its name."""
  figures = {}
  if report.rocs:
    figures['roc'] = plots.roc_plot(report.rocs)
  for index, video in enumerate(report.videos[:MAX_VIDEO_PLOTS]):
    figures[f'video{index}'] = plots.score_plot(video)
  for name, (steps, values) in report.losses.items():
    figures[f'loss{name}'] = plots.loss_plot(name, steps, values)
  if not figures:
    return '', {}
  return components(figures)


def section(title: str, body: str) -> str:
  """Return a section of a page: a heading of plain text above HTML."""
  return f'<section><h2>{html.escape(title)}</h2>{body}</section>\n'


def note(text: str) -> str:
  """Return a small grey paragraph of plain text."""
  return f'<p class="note">{html.escape(text)}</p>'


def _summary(report: Report) -> str:
  metrics = report.metrics
  data = metrics['data']
  facts = (
    f'{data["name"]}: {data["frames"]:,} test frames in {data["videos"]} videos; '
    f'labels: {data["label_set"] or "none"}. Score of a frame: {describe(metrics)}. '
    f'Checkpoint of update {metrics["checkpoint_step"]:,}, seed {metrics["seed"]}.'
  )
  parts = [f'<p>{html.escape(facts)}</p>']
  if metrics['baselines'] is None:
    parts.append('<p>The test videos have no labels: there are scores, but no AUC.</p>')
  else:
    rows = run_rows(metrics) + _paper_rows(data['name'])
    parts.append(html_table(rows, main=metrics['protocol']['normalisation']))
    parts.append(note(_main_figures(metrics)))
    parts.append(note(BASELINES_NOTE))
  regression = describe_rank_regression(metrics['rank_regression'])
  if regression:
    sentence = regression[0].upper() + regression[1:]
    parts.append(note(f'{sentence}. {REGRESSION_NOTE}'))
  return section('Summary', ''.join(parts))


def _paper_rows(name: str) -> list[Row]:
  """Return the row of the paper, which has Eq. 14 only; none for other data sets."""
  printed = paper_figures.result(name)
  if printed is None:
    return []
  auc, eer = printed
  cells = {'eq14': f'{auc:.1f} / {eer:.1f}'}
  return [Row('the paper (full test set)', [cells.get(how, '-') for how in NORMALISATIONS])]


def _main_figures(metrics: Mapping[str, Any]) -> str:
  """Describe the figures under the normalisation that heads the report."""
  normalisation = metrics['protocol']['normalisation']
  figures = metrics['metrics'][normalisation]
  if figures['auc'] is None:
    return 'All frames have the same label: AUC and EER are not defined.'
  macro = 'not defined'
  if figures['macro_auc'] is not None:
    macro = f'{100 * figures["macro_auc"]:.1f} %'
  return (
    'Each column is one way to turn errors into scores (a normalisation); AUC and EER are over all '
    f'frames together (micro). With {normalisation}: average precision '
    f'{100 * figures["ap"]:.1f} %; mean AUC of single videos (macro) {macro}, '
    f'{figures["undefined_videos"]} videos with only one label being left out; score gap, the mean '
    f'score of abnormal frames minus that of normal ones, {figures["score_gap"]:.4f}.'
  )


def _detections(metrics: Mapping[str, Any]) -> str:
  """Return the tables of events and regions; without labels, parts are left out."""
  events = metrics['events']
  regions = metrics['regions']
  rows = _event_rows(events)
  notes = []
  if 'matching_rule' in events:
    notes.append(events['matching_rule'])
  if regions:
    rows += _region_rows(regions)
    notes.append(regions['rule'])
  lines = ''
  for name, value in rows:
    lines += f'<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>'
  table = f'<div class="wide"><table>{lines}</table></div>'
  return section('Events and regions', table + note('. '.join(notes)))


def _event_rows(events: Mapping[str, Any]) -> list[tuple[str, str]]:
  rule = events['protocol']['threshold_rule']
  rows = [
    ('detected events', str(events['detected'])),
    ('threshold', f'{events["threshold"]:.3g} ({rule} of training scores)'),
  ]
  if 'true_events' not in events:
    return rows
  delay = events['median_delay_s']
  precision = _percent(events['frame_precision'])
  recall = _percent(events['frame_recall'])
  return [
    *rows,
    ('true events found', f'{events["true_positives"]} of {events["true_events"]}'),
    ('false alarms', str(events['false_alarms'])),
    ('false alarms per hour', f'{events["false_alarms_per_hour"]:.1f}'),
    ('median delay', '-' if delay is None else f'{delay:.1f} s'),
    ('precision, recall of single frames', f'{precision}, {recall}'),
  ]


def _region_rows(regions: Mapping[str, Any]) -> list[tuple[str, str]]:
  if 'rbdc' not in regions:
    return []
  rows = [('pixel AUC', _percent(regions['pixel_auc']))]
  for name in ('rbdc', 'tbdc'):
    flat = _percent(regions[name]['flat'])
    point = _percent(regions[name]['point'])
    rows.append((name.upper(), f'{flat} (curve held flat), {point} (curve ended at 1, 1)'))
  return rows


def _percent(value: float | None) -> str:
  return '-' if value is None else f'{100 * value:.1f} %'


def _roc_section(drawn: Mapping[str, str]) -> str:
  if 'roc' not in drawn:
    return ''
  text = 'On the dashed line both kinds of error are equally frequent (EER).'
  return section('ROC', drawn['roc'] + note(text))


def _score_section(report: Report, drawn: Mapping[str, str]) -> str:
  count = len(report.videos)
  shown = min(count, MAX_VIDEO_PLOTS)
  body = note('Shaded: labelled abnormal. Bars: detected events. Drag to zoom.')
  body += ''.join(drawn[f'video{index}'] for index in range(shown))
  if count > shown:
    body += note(f'{count - shown} more videos are in scores.csv.')
  return section('Scores', body)


def strip_section(title: str, strips: Sequence[Strip], metrics: Mapping[str, Any]) -> str:
  """Return a section with frames, their reconstructions and errors; '' without any."""
  if not strips:
    return ''
  limit = max(float(strip.error.max()) for strip in strips)
  figures = ''
  for strip in strips:
    caption = html.escape(strip.caption)
    figures += (
      f'<figure><div>{_pictures(strip, limit)}</div><figcaption>{caption}</figcaption></figure>'
    )
  columns = note(f'{_strip_columns(strips[0], metrics)} (brightest: {limit:.3g}).')
  return section(title, f'{columns}<div class="strips">{figures}</div>')


def _strip_columns(strip: Strip, metrics: Mapping[str, Any]) -> str:
  if strip.recon is None:
    return 'Input, error map of the bundle'
  is_normalised = any(run['input']['target_rms'] for run in metrics['protocol']['runs'])
  of_what = ' of the frame as normalised for the network' if is_normalised else ''
  return f'Input, reconstruction, squared error{of_what}'


def _pictures(strip: Strip, limit: float) -> str:
  pictures = [_image('input', grey_picture(strip.clip))]
  if strip.recon is not None:
    pictures.append(_image('reconstruction', grey_picture(strip.recon)))
  pictures.append(_image('error', heat_picture(strip.error, limit)))
  return ''.join(pictures)


def _image(alt: str, url: str) -> str:
  return f'<img alt="{alt}" src="{url}">'


def _feature_maps(report: Report) -> str:
  if not report.feature_maps:
    return ''
  title = 'Feature maps of the most abnormal frame (Fig. 5)'
  return section(title, feature_map_figures(report.feature_maps))


def feature_map_figures(maps: Mapping[str, tuple[str, np.ndarray]]) -> str:
  """Return feature maps beside each other.

  Args:
    maps: layer -> (caption, map [h, w]).
  """
  figures = ''
  for caption, image in maps.values():
    caption = html.escape(caption)
    url = heat_picture(image, float(image.max()))
    figures += (
      f'<figure><img style="width:100%" alt="{caption}" src="{url}">'
      f'<figcaption>{caption}</figcaption></figure>'
    )
  return f'<div class="strips">{figures}</div>'


def _losses(report: Report, drawn: Mapping[str, str]) -> str:
  if not report.losses:
    return ''
  return section('Losses', ''.join(drawn[f'loss{name}'] for name in report.losses))


def _appendix(report: Report) -> str:
  contents = {
    'metrics': report.metrics,
    'config': report.config,
    'provenance': report.provenance,
  }
  blocks = ''
  for name, value in contents.items():
    if value:
      text = html.escape(json.dumps(value, indent=1))
      blocks += f'<details><summary>{name}</summary><pre>{text}</pre></details>'
  return section('Protocol, config, versions', blocks)
