"""Compare one program on more and more chips, at a fixed batch per chip.

FLOPs and bytes per chip should stay constant, and communication between chips should be short.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.common.files import atomic_write, write_json
from a3dcae_jax.measuring.columns import table

# Fields that must agree in a comparison of topologies.
SAME = ('mode', 'preset', 'batch', 'dtype', 'remat', 'gradient_dtype', 'target_rms')
FIGURES = (
  'gflops_per_clip',
  'gb_per_clip',
  'main_memory_gb_per_clip',
  'memory_gb',
  'gradient_reductions',
  'other_gradient_collectives',
  'gradient_mb',
  'statistics_reductions',
  'statistics_mb',
  'collective_s',
  'collective_share',
  'waited_share',
  'overlapped',
  'compile_s',
)
CONSTANT_WITHIN = 0.05  # largest change of FLOPs and bytes per chip without a warning
WAITED_LIMIT = 0.10  # largest share of a step spent waiting without a warning
_COLUMNS = (
  ('topology', '{topology}'),
  ('chips', '{chips}'),
  ('GFLOP/clip', '{gflops_per_clip:,.0f}'),
  ('ratio', '{flops_ratio:.3f}'),
  ('GB/clip', '{gb_per_clip:.2f}'),
  ('ratio', '{bytes_ratio:.3f}'),
  ('main memory GB/clip', '{main_memory_gb_per_clip:.2f}'),
  ('memory GB', '{memory_gb:.1f}'),
  ('gradient reductions', '{gradient_reductions}'),
  ('others', '{other_gradient_collectives}'),
  ('MB', '{gradient_mb:,.0f}'),
  ('statistics reductions', '{statistics_reductions}'),
  ('MB', '{statistics_mb:.2f}'),
  ('ms at the link rate', '{collective_ms:.2f}'),
  ('% of the step', '{collective_percent:.1f}'),
  ('% waited for', '{waited_percent:.1f}'),
  ('compile s', '{compile_s:.0f}'),
)


def scale_groups(reports: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
  """Group reports of the same program on the same kind of chip.

  Returns:
    `scale_rows` of each group that has more than one topology.
  """
  groups = {}
  for report in reports:
    kind = report['topology'].partition(':')[0]
    key = (kind, *(report[name] for name in SAME))
    groups.setdefault(key, []).append(report)
  compared = []
  for group in groups.values():
    topologies = {report['topology'] for report in group}
    if len(topologies) > 1:
      compared.append(scale_rows(group))
  return compared


def scale_rows(reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Compare reports of one program with the report on the fewest chips.

  Returns:
    Some fields of each report, with `flops_ratio` and `bytes_ratio`, in order of the number of
    chips.
  """
  reports = sorted(reports, key=lambda report: report['chips'])
  fewest = reports[0]
  rows = []
  for report in reports:
    row = {}
    for name in ('topology', 'chips', *SAME, *FIGURES):
      row[name] = report[name]
    row['flops_ratio'] = report['gflops_per_clip'] / fewest['gflops_per_clip']
    row['bytes_ratio'] = report['gb_per_clip'] / fewest['gb_per_clip']
    rows.append(row)
  return rows


def verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Return the warnings on `scale_rows` as lines, or a line that there are none."""
  found = [f'WARNING: {line}' for line in warnings(rows)]
  return found or [f'FLOPs and bytes per chip stay within {100 * CONSTANT_WITHIN:.0f} %.']


def warnings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Return a warning for each figure of `scale_rows` that does not scale.

  The figures are FLOPs and bytes per chip, and the time that chips wait for collectives.
  """
  lines = []
  for row in rows:
    topology = row['topology']
    for name, ratio in (('FLOPs', row['flops_ratio']), ('bytes', row['bytes_ratio'])):
      if abs(ratio - 1) > CONSTANT_WITHIN:
        lines.append(
          f'{topology}: {name} per chip are {ratio:.2f} times those on the fewest chips, '
          f'more than {100 * CONSTANT_WITHIN:.0f} % off'
        )
    if row['waited_share'] > WAITED_LIMIT:
      smaller_gradients = '' if row['gradient_dtype'] == 'bfloat16' else '--dtype=bfloat16 or '
      lines.append(
        f'{topology}: chips wait for each other during {100 * row["waited_share"]:.0f} % of the '
        f'step; try {smaller_gradients}more clips per chip'
      )
  return lines


def scale_table(rows: Sequence[Mapping[str, Any]], *, markdown: bool = False) -> str:
  """Return `scale_rows` as aligned text, or as a Markdown table."""
  shown = []
  for row in rows:
    shown.append(
      {
        **row,
        'collective_ms': 1e3 * row['collective_s'],
        'collective_percent': 100 * row['collective_share'],
        'waited_percent': 100 * row['waited_share'],
      }
    )
  return table(shown, _COLUMNS, markdown=markdown)


def scale_title(rows: Sequence[Mapping[str, Any]]) -> str:
  """Return a line that names the program of `scale_rows`."""
  fields = ', '.join(f'{name} {rows[0][name]}' for name in SAME)
  return f'{fields}; all figures per chip, ratios to the fewest chips'


def write_comparison(name: str, groups: Sequence[Sequence[Mapping[str, Any]]]) -> None:
  """Write groups of `scale_rows` to NAME.json and NAME.md."""
  rows = []
  lines = ['# Figures per chip and what chips send each other, by number of chips', '']
  for group in groups:
    rows += group
    lines += [scale_title(group), '']
    lines += [scale_table(group, markdown=True), '']
    lines += [*verdict(group), '']
  write_json(f'{name}.json', {'rows': rows})
  with atomic_write(f'{name}.md') as file:
    file.write('\n'.join(lines))
