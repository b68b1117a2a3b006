"""Reports of `ahead.report` side by side: presets, chips, batches."""

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import read_json
from a3dcae_jax.measuring.columns import table
from a3dcae_jax.measuring.scale import SAME

_BEFORE = {'target_rms': 0.0}  # of reports that were written before there was this setting
_NEEDED = (
  *SAME,
  'topology',
  'chips',
  'gflops_per_clip',
  'gb_per_clip',
  'memory_gb',
  'memory_share',
  'limited_by',
  'roofline_frames_per_s',
  'compile_s',
)
_COLUMNS = (
  ('mode', '{mode}'),
  ('preset', '{preset}'),
  ('topology', '{topology}'),
  ('clips a chip', '{batch}'),
  ('remat', '{remat}'),
  ('target_rms', '{target_rms:g}'),
  ('GFLOP/clip', '{gflops_per_clip:,.1f}'),
  ('GB/clip', '{gb_per_clip:.2f}'),
  ('memory GB', '{memory_gb:.1f}'),
  ('% of the chip', '{memory_percent:.0f}'),
  ('limited by', '{limited_by}'),
  ('frames/s a chip at most', '{roofline_frames_per_s:,.0f}'),
  ('compiled in s', '{compile_s:.0f}'),
)


def overview(rows, *, markdown=False):
  """Reports as aligned text, or as a Markdown table."""
  return table(
    [row | {'memory_percent': 100 * row['memory_share']} for row in rows],
    _COLUMNS,
    markdown=markdown,
  )


def earlier_reports(paths):
  """The reports of all files `paths` (names of JSON files, {"rows": [...]}), in their order.

  Raises: UserError naming the file and the row that is no report, such as a row of a comparison or of a search for the largest batch.
  """
  return [_checked(path, index, row) for path in paths for index, row in enumerate(_rows(path))]


def _rows(path):
  content = read_json(path)
  if not isinstance(content, dict) or not isinstance(content.get('rows'), list):
    raise UserError(f'{path} holds no "rows": it is not what `aot --json` writes')
  return content['rows']


def _checked(path, index, row):
  row = _BEFORE | row if isinstance(row, dict) else {}
  if missing := [key for key in _NEEDED if key not in row]:
    raise UserError(
      f'{path}: row {index} has no {", ".join(missing)}: it is no report; give what `aot --json` or --table wrote, not a --comparison'
    )
  return row


def brief(row):
  """A report with its lists (moves, kernels, collectives) replaced by how many there are: small enough to keep beside a table."""
  return {key: len(value) if isinstance(value, list) else value for key, value in row.items()}
