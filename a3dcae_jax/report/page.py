"""`report.html`: one file, no network, readable on a phone and on paper."""

import html
import json

from bokeh.embed import components
from bokeh.resources import Resources

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.report import plots
from a3dcae_jax.report.paper_tables import PAPER
from a3dcae_jax.report.pictures import grey_picture, heat_picture
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.schema import NORMALISED_FRAMES, describe_follows, describe_windows, twin

_BOKEH = Resources(
  mode='inline', components=['bokeh']
)  # the plots alone: widgets, tables and formulas would treble the page
MAX_VIDEO_PLOTS = (
  40  # beyond, the first ones are drawn and the page says so: a page must stay light
)

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 62rem; color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #e5e5e5; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.run td { font-weight: 600; background: #eef5fa; } tr.head td { outline: 0; }
td.main { box-shadow: inset 0 0 0 2px #0072b2; } .note { color: #555; font-size: .9rem; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure div { display: flex; gap: 2px; } figure img { width: 33.3%; image-rendering: pixelated; }
figcaption { font-size: .85rem; color: #555; } pre { overflow-x: auto; background: #f6f6f6; padding: .7rem; font-size: .8rem; }
@media (max-width: 40rem) { body { padding: .6rem; } th, td { white-space: normal; padding: .3rem .35rem; font-size: .82rem; } }
@media print { body { max-width: none; } section { break-inside: avoid; } details > * { display: block; } }
"""


def write_report(path, report):
  """Writes `report` (`contents.Report`) as one self-contained HTML file, whole or not at all."""
  figures = {}
  if report.rocs:
    figures['roc'] = plots.roc_plot(report.rocs)
  for index, video in enumerate(report.videos[:MAX_VIDEO_PLOTS]):
    figures[f'video{index}'] = plots.score_plot(video)
  for name, (steps, values) in report.losses.items():
    figures[f'loss{name}'] = plots.loss_plot(name, steps, values)
  script, drawn = components(figures) if figures else ('', {})
  body = ''.join(
    [
      _summary(report),
      _detections(report.metrics),
      _roc_section(drawn),
      _videos(report, drawn),
      *(_strips(title, strips, report.metrics) for title, strips in report.strips.items()),
      _feature_maps(report),
      _losses(report, drawn),
      _appendix(report),
    ]
  )
  title = html.escape(report.title)
  with atomic_write(path) as file:
    file.write(
      f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
      f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
      f'{_BOKEH.render()}</head><body><h1>{title}</h1>{body}{script}</body></html>\n'
    )


def _section(title, body):
  return f'<section><h2>{html.escape(title)}</h2>{body}</section>\n'


def _summary(report):
  metrics = report.metrics
  data, protocol = metrics['data'], metrics['protocol']
  facts = (
    f'{data["name"]}: {data["frames"]:,} test frames in {data["videos"]} videos; labels: {data["label_set"] or "none"}; '
    f'error: {protocol["error"]}; {describe_windows(metrics)}; smoothing: {protocol["smoothing_frames"] or "none"}; '
    f'checkpoint of update {metrics["checkpoint_step"]:,}; seed {metrics["seed"]}.'
  )
  if metrics['baselines'] is None:
    return _section(
      'Summary',
      f'<p>{html.escape(facts)}</p><p>The test videos have no labels: there are scores, but no AUC.</p>{_follows(metrics)}',
    )
  rows = [('this run', metrics['metrics'], 'run'), (*twin(metrics), '')]
  rows += [
    (f'baseline: {name.replace("_", " ")}', values, '')
    for name, values in metrics['baselines'].items()
  ]
  head = ''.join(f'<th>{name}</th>' for name in NORMALISATIONS)
  cells = ''.join(
    _row(name, values, style, protocol['normalisation']) for name, values, style in rows
  )
  if data['name'] in PAPER:
    auc, eer = PAPER[data['name']]
    cells += f'<tr><td>the paper (full test set)</td><td>{auc:.1f} / {eer:.1f}</td><td></td><td></td><td></td></tr>'
  table = f'<div class="wide"><table><thead><tr><th>AUC / EER, %</th>{head}</tr></thead><tbody>{cells}</tbody></table></div>'
  return _section(
    'Summary', f'<p>{html.escape(facts)}</p>{table}{_more(metrics)}{_follows(metrics)}'
  )


def _row(name, values, style, main):
  cells = ''.join(
    f'<td{" class=main" if style and how == main else ""}>{figures_cell(values.get(how))}</td>'
    for how in NORMALISATIONS
  )
  return f'<tr class="{style}"><td>{html.escape(name)}</td>{cells}</tr>'


def figures_cell(values):
  """'AUC / EER' in percent; '' where there is no such figure."""
  if not values:
    return ''
  return (
    'one class'
    if values['auc'] is None
    else f'{100 * values["auc"]:.1f} / {100 * values["eer"]:.1f}'
  )


def _more(metrics):
  main = metrics['metrics'][metrics['protocol']['normalisation']]
  if main['auc'] is None:
    return '<p class="note">All frames have one label: AUC and EER are not defined.</p>'
  macro = 'not defined' if main['macro_auc'] is None else f'{100 * main["macro_auc"]:.1f} %'
  return (
    f'<p class="note">Under {metrics["protocol"]["normalisation"]}: average precision {100 * main["ap"]:.1f} %; mean of the videos\' own AUC '
    f'{macro} ({main["undefined_videos"]} videos have one class and are left out); score gap {main["score_gap"]:.4f}. All frames '
    f'together (micro) unless said. The baselines learn nothing: a figure says something by its distance from them.</p>'
  )


def _follows(metrics):
  """What the error follows, and how to read it."""
  follows = describe_follows(metrics)
  return follows and (
    f'<p class="note">{html.escape(follows[0].upper() + follows[1:])}. Weight on the mean image distance: it counts who is there; on the '
    f'frame difference: it follows how much moves. What R^2 leaves of 1 is in neither. No label is used.</p>'
  )


def _detections(metrics):
  """Events, and where in the picture: a table each, as far as there are labels."""
  events, regions = metrics.get('events'), metrics.get('regions')
  if not events:
    return ''
  rows = [
    ('detected events', events['detected']),
    (
      'threshold',
      f'{events["threshold"]:.3g} ({events["protocol"]["threshold_rule"]} of training scores)',
    ),
  ]
  if 'true_events' in events:
    delay = events['median_delay_s']
    rows += [
      ('true events found', f'{events["true_positives"]} of {events["true_events"]}'),
      ('false alarms', events['false_alarms']),
      ('false alarms an hour', f'{events["false_alarms_per_hour"]:.1f}'),
      ('median delay', '' if delay is None else f'{delay:.1f} s'),
      (
        'precision, recall of frames',
        ', '.join(
          '-' if events[n] is None else f'{100 * events[n]:.1f} %'
          for n in ('frame_precision', 'frame_recall')
        ),
      ),
    ]
  if regions and 'rbdc' in regions:
    rows += [('pixel AUC', f'{100 * regions["pixel_auc"]:.1f} %')]
    for name in ('rbdc', 'tbdc'):
      flat, point = (100 * regions[name][end] for end in ('flat', 'point'))
      rows.append((name.upper(), f'{flat:.1f} % (curve held flat), {point:.1f} % (ended at 1, 1)'))
  table = ''.join(
    f'<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>'
    for name, value in rows
  )
  notes = [events.get('matching_rule', ''), regions['rule'] if regions else '']
  return _section(
    'Events and regions',
    f'<div class="wide"><table>{table}</table></div><p class="note">{html.escape(". ".join(n for n in notes if n))}</p>',
  )


def _feature_maps(report):
  if not report.feature_maps:
    return ''
  figures = ''.join(
    f'<figure><img style="width:100%" alt="{html.escape(caption)}" src="{heat_picture(image, float(image.max()))}">'
    f'<figcaption>{html.escape(caption)}</figcaption></figure>'
    for caption, image in report.feature_maps.values()
  )
  return _section(
    'Feature maps of the most abnormal frame (Fig. 5)', f'<div class="strips">{figures}</div>'
  )


def _roc_section(drawn):
  return (
    _section(
      'ROC',
      drawn['roc'] + '<p class="note">The dashed line is where both kinds of error are equal.</p>',
    )
    if 'roc' in drawn
    else ''
  )


def _videos(report, drawn):
  shown = ''.join(
    drawn[f'video{index}'] for index in range(min(len(report.videos), MAX_VIDEO_PLOTS))
  )
  left = len(report.videos) - MAX_VIDEO_PLOTS
  note = f'<p class="note">{left} more videos are in scores.csv.</p>' if left > 0 else ''
  return _section(
    'Scores',
    f'<p class="note">Shaded: labelled abnormal. Bars: detected. Drag to zoom.</p>{shown}{note}',
  )


def _strips(title, strips, metrics):
  if not strips:
    return ''
  limit = max(float(strip.error.max()) for strip in strips)
  figures = ''.join(
    f'<figure><div>{_pictures(strip, limit)}</div><figcaption>{html.escape(strip.caption)}</figcaption></figure>'
    for strip in strips
  )
  shown = 'Input, error map of the bundle'
  if strips[0].recon is not None:
    as_seen = (
      ', of the frame as it is normalised for the network'
      if NORMALISED_FRAMES in metrics['protocol']['error']
      else ''
    )
    shown = f'Input, reconstruction, squared error{as_seen}'
  return _section(
    title, f'<p class="note">{shown} (bright = {limit:.3g}).</p><div class="strips">{figures}</div>'
  )


def _pictures(strip, limit):
  recon = (
    '' if strip.recon is None else f'<img alt="reconstruction" src="{grey_picture(strip.recon)}">'
  )
  return f'<img alt="input" src="{grey_picture(strip.clip)}">{recon}<img alt="error" src="{heat_picture(strip.error, limit)}">'


def _losses(report, drawn):
  shown = ''.join(drawn[f'loss{name}'] for name in report.losses)
  return _section('Losses', shown) if shown else ''


def _appendix(report):
  blocks = ''.join(
    f'<details><summary>{name}</summary><pre>{html.escape(json.dumps(value, indent=1))}</pre></details>'
    for name, value in (
      ('metrics', report.metrics),
      ('config', report.config),
      ('provenance', report.provenance),
    )
    if value
  )
  return _section('Protocol, config, versions', blocks)
