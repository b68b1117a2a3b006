"""Prints where the time of a trace went: its updates, the share of them in which the host made batches, and the largest kernels.

python -m a3dcae_jax.main ... --workdir=RUN --profile=20:25 && python tools/top_kernels.py RUN/profile [--count=20] [--json=FILE]
"""

import argparse
import json
import pathlib

from a3dcae_jax.measuring.columns import table
from a3dcae_jax.run.profiling import newest_trace, read_events, top_kernels, updates

_COLUMNS = (
  ('ms', '{ms:.3f}'),
  ('%', '{percent:.1f}'),
  ('calls', '{calls}'),
  ('kernel', '{name}'),
  ('from', '{source}'),
)


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--count', type=int, default=20)
  parser.add_argument('--json', type=pathlib.Path)
  arguments = parser.parse_args(argv)
  path = newest_trace(arguments.folder)
  events = read_events(path)
  found = {
    'trace': path.name,
    'updates': updates(events),
    'kernels': top_kernels(events, count=arguments.count),
  }
  for row in found['updates']:
    print(
      f'update {row["step"]}: {row["ms"]:.2f} ms on the host, of these {row["next_batch_ms"]:.2f} ms for its batch'
    )
  print(
    table(
      [
        row | {'percent': 100 * row['share'], 'source': row['op_name'][-60:]}
        for row in found['kernels']
      ],
      _COLUMNS,
    )
  )
  if arguments.json:
    arguments.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
