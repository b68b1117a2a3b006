"""One program on ever more chips at a fixed batch a chip: what stays the same a chip, and what is sent between them."""

from a3dcae_jax.measuring.columns import table

SAME = (
  'mode',
  'preset',
  'batch',
  'dtype',
  'remat',
  'reduce_dtype',
  'target_rms',
)  # the settings that are compared with themselves on other topologies
CONSTANT_WITHIN, SHARE_LIMIT = 0.05, 0.10


def scale_groups(reports):
  """`scale_rows` of every setting and kind of chip in `reports` that there is on more than one topology."""
  groups = {}
  for report in reports:
    groups.setdefault(
      (report['topology'].partition(':')[0], *(report[name] for name in SAME)), []
    ).append(report)
  return [scale_rows(group) for group in groups.values() if len(group) > 1]


def scale_rows(reports):
  """Rows of the table: each of `reports` (of `ahead.report`, one setting, several topologies) against that with the fewest chips."""
  reports = sorted(reports, key=lambda report: report['chips'])
  first = reports[0]
  rows = []
  for report in reports:
    counted = (
      report['gb_per_clip'] and first['gb_per_clip']
    )  # XLA counts neither FLOPs nor bytes for GPUs
    ratio = lambda key, report=report, counted=counted: (
      report[key] / first[key] if counted else None
    )  # noqa: E731
    rows.append(
      {
        key: report[key]
        for key in (
          'topology',
          'chips',
          *SAME,
          'gflops_per_clip',
          'gb_per_clip',
          'memory_gb',
          'gradient_reductions',
          'gradient_mb',
          'statistics_reductions',
          'statistics_mb',
          'collective_s',
          'collective_share',
          'overlapped',
          'compile_s',
        )
      }
      | {
        'flops_ratio': ratio('gflops_per_clip'),
        'bytes_ratio': ratio('gb_per_clip'),
        'main_memory_gb_per_clip': report.get('main_memory_gb_per_clip'),
        'gradient_exchanges': report.get('gradient_exchanges', 0),
        'waited_share': _waited(report),
      }
    )
  return rows


def _waited(report):
  """Share of the step in which a chip only sends; reports from before `waited_share` have all their collectives overlapped or none."""
  return report.get('waited_share', 0.0 if report['overlapped'] else report['collective_share'])


def verdict(rows):
  """Lines on `scale_rows`: what does not scale (see `warnings`), or that all does, or that it was not counted."""
  found = [f'WARNING: {line}' for line in warnings(rows)]
  if any(row['flops_ratio'] is None for row in rows):
    return [
      *found,
      'XLA counts neither FLOPs nor bytes for these chips: FLOPs are those of the direct method.',
    ]
  return found or [f'FLOPs and bytes a chip stay within {100 * CONSTANT_WITHIN:.0f} %.']


def warnings(rows):
  """A line for everything in `scale_rows` that does not scale: FLOPs or bytes a chip that grow, reductions that the chips wait for."""
  lines = []
  for row in rows:
    for name, ratio in (('FLOPs', row['flops_ratio']), ('bytes', row['bytes_ratio'])):
      if ratio is not None and abs(ratio - 1) > CONSTANT_WITHIN:
        lines.append(
          f'{row["topology"]}: {name} a chip are {ratio:.2f} times those on the fewest chips, more than {100 * CONSTANT_WITHIN:.0f} % off'
        )
    if row['waited_share'] > SHARE_LIMIT:
      lines.append(
        f'{row["topology"]}: what is sent takes {100 * row["waited_share"]:.0f} % of the step and nothing is computed meanwhile; '
        'try '
        + ('--reduce_dtype=bfloat16 or ' if row['reduce_dtype'] == 'float32' else '')
        + 'more clips a chip'
      )
  return lines


_COLUMNS = (
  ('topology', '{topology}'),
  ('chips', '{chips}'),
  ('GFLOP/clip', '{gflops_per_clip:,.0f}'),
  ('x', '{flops_ratio:.3f}'),
  ('GB/clip', '{gb_per_clip:.2f}'),
  ('x', '{bytes_ratio:.3f}'),
  ('of main memory', '{main_memory_gb_per_clip:.2f}'),
  ('memory GB', '{memory_gb:.1f}'),
  ('gradient reductions', '{gradient_reductions}'),
  ('exchanges', '{gradient_exchanges}'),
  ('MB', '{gradient_mb:,.0f}'),
  ('of statistics', '{statistics_reductions}'),
  ('MB', '{statistics_mb:.2f}'),
  ('ms at the link rate', '{collective_ms:.2f}'),
  ('% of the step', '{collective_percent:.1f}'),
  ('waited for', '{waited_percent:.1f}'),
  ('compiled in s', '{compile_s:.0f}'),
)


def scale_table(rows, *, markdown=False):
  """`scale_rows` as aligned text, or as a Markdown table."""
  shown = [
    row
    | {
      'collective_ms': 1e3 * row['collective_s'],
      'collective_percent': 100 * row['collective_share'],
      'waited_percent': 100 * row['waited_share'],
    }
    for row in rows
  ]
  return table(shown, _COLUMNS, markdown=markdown)
