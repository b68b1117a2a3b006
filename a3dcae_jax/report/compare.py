"""Several runs side by side; runs under different protocols stand in tables of their own."""

import html

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.report.page import STYLE, figures_cell
from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.schema import describe_windows, mean_image_of


def protocol_of(metrics):
  """What two figures must share to be comparable: footage, labels, mean image, error, smoothing, windows."""
  data, protocol = metrics['data'], metrics['protocol']
  return (
    data['name'],
    data['label_set'] or 'no labels',
    data['sha256'],
    protocol['error'],
    protocol['smoothing_frames'],
    protocol['window'],
    protocol['every_frames'],
    protocol.get('stride', 1),
    mean_image_of(metrics),
  )


def group_runs(runs):
  """[(name, metrics), ...] -> list of groups of runs under one protocol, each [(name, metrics), ...], in order of appearance."""
  groups = {}
  for name, metrics in runs:
    groups.setdefault(protocol_of(metrics), []).append((name, metrics))
  return list(groups.values())


def describe(group):
  """One line that says what a group's runs share."""
  name, labels, digest, error, smoothing, *_ = protocol_of(group[0][1])
  return (
    f'{name}, labels {labels}, frames {digest[:8]}, error {error}, smoothing {smoothing or "none"}, '
    f'{describe_windows(group[0][1])}'
  )


def rows_of(group):
  """(name, [cell, ...]) of each run and of the baselines that they share: AUC / EER in percent under each normalisation."""
  rows = [
    (name, [figures_cell((metrics['metrics'] or {}).get(how)) for how in NORMALISATIONS])
    for name, metrics in group
  ]
  baselines = group[0][1]['baselines'] or {}
  return rows + [
    (
      f'baseline: {name.replace("_", " ")}',
      [figures_cell(values.get(how)) for how in NORMALISATIONS],
    )
    for name, values in baselines.items()
  ]


def compare_text(groups):
  """The tables as text."""
  lines = [_warning(groups)] if len(groups) > 1 else []
  for group in groups:
    lines += [
      describe(group),
      f'{"AUC / EER, %":34s}' + ''.join(f'{how:>16s}' for how in NORMALISATIONS),
    ]
    lines += [
      f'{name[-34:]:34s}' + ''.join(f'{cell:>16s}' for cell in cells)
      for name, cells in rows_of(group)
    ]
  return '\n'.join(lines)


def write_comparison(path, groups):
  """The tables as one self-contained HTML file."""
  head = ''.join(f'<th>{how}</th>' for how in NORMALISATIONS)
  body = f'<p><strong>{html.escape(_warning(groups))}</strong></p>' if len(groups) > 1 else ''
  for group in groups:
    rows = ''.join(
      f'<tr><td>{html.escape(name)}</td>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>'
      for name, cells in rows_of(group)
    )
    table = f'<div class="wide"><table><thead><tr><th>AUC / EER, %</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    body += f'<section><h2>{html.escape(describe(group))}</h2>{table}</section>'
  with atomic_write(path) as file:
    file.write(
      '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Runs compared</title><meta name="viewport" '
      f'content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><h1>Runs compared</h1>{body}</body></html>\n'
    )


def _warning(groups):
  return f'These runs stand under {len(groups)} different protocols: figures of different tables cannot be compared.'
