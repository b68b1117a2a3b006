"""Reports of `ahead.report` side by side: presets, chips, batches."""

from a3dcae_jax.measuring.columns import table

_COLUMNS = (
    ('mode', '{mode}'), ('preset', '{preset}'), ('topology', '{topology}'), ('clips a chip', '{batch}'), ('remat', '{remat}'), ('contrast', '{contrast:g}'),
    ('GFLOP/clip', '{gflops_per_clip:,.1f}'), ('GB/clip', '{gb_per_clip:.2f}'), ('memory GB', '{memory_gb:.1f}'), ('% of the chip', '{memory_percent:.0f}'),
    ('limited by', '{limited_by}'), ('frames/s a chip at most', '{roofline_frames_per_s:,.0f}'), ('compiled in s', '{compile_s:.0f}'))


def overview(rows, *, markdown=False):
  """Reports as aligned text, or as a Markdown table."""
  return table([row | {'memory_percent': 100 * row['memory_share']} for row in rows], _COLUMNS, markdown=markdown)


def brief(row):
  """A report with its lists (moves, kernels, collectives) replaced by how many there are: small enough to keep beside a table."""
  return {key: len(value) if isinstance(value, list) else value for key, value in row.items()}
