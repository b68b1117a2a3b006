"""Reports of `aot_compile.report` as text, as tables, and read back from files."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write, read_json, write_json
from a3dcae_jax.measuring.columns import table
from a3dcae_jax.measuring.scale import FIGURES, SAME

# Fields that every report has.
_NEEDED = (
  *SAME,
  'topology',
  'chips',
  *FIGURES,
  'memory_share',
  'limited_by',
  'roofline_frames_per_s',
)
_COLUMNS = (
  ('mode', '{mode}'),
  ('preset', '{preset}'),
  ('topology', '{topology}'),
  ('clips/chip', '{batch}'),
  ('remat', '{remat}'),
  ('target_rms', '{target_rms:g}'),
  ('GFLOP/clip', '{gflops_per_clip:,.1f}'),
  ('GB/clip', '{gb_per_clip:.2f}'),
  ('memory GB', '{memory_gb:.1f}'),
  ('% of the chip', '{memory_percent:.0f}'),
  ('limited by', '{limited_by}'),
  ('most frames/s per chip', '{roofline_frames_per_s:,.0f}'),
  ('compile s', '{compile_s:.0f}'),
)
_MOST_LINES = 10  # most moves and kernels on the terminal; --json has all


def overview(rows: Sequence[Mapping[str, Any]], *, markdown: bool = False) -> str:
  """Return reports as aligned text, or as a Markdown table."""
  shown = [{**row, 'memory_percent': 100 * row['memory_share']} for row in rows]
  return table(shown, _COLUMNS, markdown=markdown)


def write_overview(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Write reports to NAME.json, lists replaced by their lengths, and NAME.md."""
  briefs = [brief(row) for row in rows]
  write_json(f'{name}.json', {'rows': briefs})
  text = overview(rows, markdown=True)
  with atomic_write(f'{name}.md') as file:
    file.write(f'# Compiled for absent chips\n\n{text}\n')


def brief(row: Mapping[str, Any]) -> dict[str, Any]:
  """Replace the lists of a report (moves, kernels, collectives) by their lengths."""
  shortened = {}
  for name, value in row.items():
    shortened[name] = len(value) if isinstance(value, list) else value
  return shortened


def earlier_reports(paths: Sequence[str | pathlib.Path]) -> list[dict[str, Any]]:
  """Read the reports of JSON files, {"rows": [...]}, in their order.

  Raises:
    UserError: for a row that is not a report, such as a row of a comparison or of a search for
      the largest batch. The message names the file and the row.
  """
  reports = []
  for path in paths:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get('rows'), list):
      raise UserError(f'{path} holds no "rows": give a file that `aot --json` wrote')
    for index, row in enumerate(content['rows']):
      known = row if isinstance(row, dict) else {}
      missing = [name for name in _NEEDED if name not in known]
      if missing:
        raise UserError(
          f'{path}: row {index} has no {", ".join(missing)}: it is not a report; '
          'give a file that `aot --json` or `aot --table` wrote, not one of --comparison'
        )
      reports.append(row)
  return reports


def describe(row: Mapping[str, Any]) -> str:
  """Return a report as lines for the terminal."""
  shares = ''
  if row['convolution_share']:
    percent = 100 * row['convolution_share']
    shares = f'{percent:.0f} % of FLOPs in convolutions; '
  memory_percent = 100 * row['memory_share']
  first = (
    f'{row["mode"]} {row["preset"]}, {row["chips"]} chips of {row["topology"]}, '
    f'{row["batch"]} clips per chip, {row["dtype"]}: '
    f'{row["gflops_per_clip"]:,.4g} GFLOP and {row["gb_per_clip"]:.3g} GB per clip, '
    f'{row["memory_gb"]:.1f} GB ({memory_percent:.0f} % of the chip), '
    f'{row["gb_per_batch"]:.2f} GB per batch, '
    f'at most {row["roofline_frames_per_s"]:,.0f} frames/s and '
    f'{row["roofline_clips_per_s"]:,.0f} clips/s per chip, '
    f'limited by {row["limited_by"]}; {shares}compiled in {row["compile_s"]:.0f} s'
  )
  lines = [first, *_move_lines(row['large_moves']), *_kernel_lines(row['kernels'])]
  if row['collectives']:
    lines.append(_collective_line(row))
  return '\n'.join(lines)


def _move_lines(moves: Sequence[Mapping[str, Any]]) -> list[str]:
  """Return the largest moves and the number of the others, as lines."""
  lines = []
  for move in moves[:_MOST_LINES]:
    source = move['op_name'][-70:]
    lines.append(f'  {move["mb"]:8.1f} MB {move["opcode"]:12s} {source}')
  rest = len(moves) - _MOST_LINES
  if rest > 0:
    lines.append(f'  and {rest} more moves over 1 MB (all in --json)')
  return lines


def _kernel_lines(kernels: Sequence[Mapping[str, Any]]) -> list[str]:
  """Return the number of kernels of each kind and the largest kernels, as lines."""
  lines = []
  counts = collections.Counter(kernel['kind'] for kernel in kernels)
  for kind, count in counts.items():
    lines.append(f'  {count:4d} kernels {kind}')
  for kernel in kernels[:_MOST_LINES]:
    source = kernel['op_name'][-60:]
    lines.append(f'  {kernel["mb"]:8.1f} MB {kernel["name"]:40s} {source}')
  return lines


def _collective_line(row: Mapping[str, Any]) -> str:
  return (
    f'  gradients: {row["gradient_reductions"]} reductions and '
    f'{row["other_gradient_collectives"]} other collectives, {row["gradient_mb"]:,.1f} MB; '
    f'statistics: {row["statistics_reductions"]}, {row["statistics_mb"]:,.2f} MB; '
    f'{1e3 * row["collective_s"]:.2f} ms at the link rate, '
    f'{100 * row["collective_share"]:.0f} % of the roofline time, '
    f'{100 * row["waited_share"]:.0f} % while nothing is computed'
  )
