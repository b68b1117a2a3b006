"""Comparison of several runs; each protocol has a table of its own."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.common.files import atomic_write
from a3dcae_jax.report.page import html_page
from a3dcae_jax.report.table import Row, baseline_rows, figures_row, html_table, text_table
from a3dcae_jax.scoring.protocol import comparison_key, describe

NamedRun = tuple[str, Mapping[str, Any]]
"""Name of a run and the content of its `metrics.json`."""

Group = list[NamedRun]
"""Runs under one protocol."""


def group_runs(runs: Sequence[NamedRun]) -> list[Group]:
  """Group runs that may be compared, in order of appearance."""
  groups = {}
  for name, metrics in runs:
    key = comparison_key(metrics)
    groups.setdefault(key, []).append((name, metrics))
  return list(groups.values())


def compare_text(groups: Sequence[Group]) -> str:
  """Return one table for each group, as text."""
  parts = []
  if len(groups) > 1:
    parts.append(_warning(groups))
  for group in groups:
    parts.append(_describe_group(group))
    parts.append(text_table(_rows(group)))
  return '\n'.join(parts)


def write_comparison(path: pathlib.Path | str, groups: Sequence[Group]) -> None:
  """Write one table for each group, as one self-contained HTML file."""
  body = ''
  if len(groups) > 1:
    body += f'<p><strong>{html.escape(_warning(groups))}</strong></p>'
  for group in groups:
    title = html.escape(_describe_group(group))
    body += f'<section><h2>{title}</h2>{html_table(_rows(group))}</section>'
  with atomic_write(path) as file:
    file.write(html_page('Runs compared', body))


def _rows(group: Group) -> list[Row]:
  """Return a row for each run, then the baselines that they share."""
  rows = [figures_row(name, metrics['metrics']) for name, metrics in group]
  _, first = group[0]
  return rows + baseline_rows(first)


def _describe_group(group: Group) -> str:
  _, metrics = group[0]
  data = metrics['data']
  labels = data['label_set'] or 'none'
  return (
    f'{data["name"]}, labels {labels}, frames and labels {data["sha256"][:8]}; {describe(metrics)}'
  )


def _warning(groups: Sequence[Group]) -> str:
  return (
    f'These runs have {len(groups)} different protocols: '
    'figures of different tables cannot be compared.'
  )
